package tokens_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/tokens"
)

// serveOrders is a handler of a resource server. It knows the issuer only by its
// published keys.
func serveOrders(verifier *tokens.RemoteVerifier) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		compact := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		token, err := verifier.Verify(r.Context(), compact)
		switch {
		case errors.Is(err, tokens.ErrInvalid):
			http.Error(w, "the access token is refused", http.StatusUnauthorized)
		case err != nil: // tokens.ErrKeysUnavailable: the token may be good
			http.Error(w, "the issuer does not answer", http.StatusServiceUnavailable)
		default:
			fmt.Fprintln(w, "orders of", token.Subject)
		}
	}
}

// A resource server in another process verifies tokens with the JWK set that the issuer
// publishes.
func ExampleRemoteVerifier() {
	// The issuer signs with a key pair and publishes the public half.
	key, err := tokens.GenerateKey(tokens.EdDSA)
	if err != nil {
		panic(err)
	}
	keys, err := tokens.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{
		Keys: keys, Issuer: "https://login.example.org", Audience: "https://api.example.org",
	})
	if err != nil {
		panic(err)
	}
	published := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		set, err := issuer.Keys().PublicJWKSet(time.Now())
		if err != nil {
			http.Error(w, "no keys", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Write(set)
	}))
	defer published.Close()

	// The resource server fetches the JWK set.
	verifier, err := tokens.NewRemoteVerifier(tokens.RemoteConfig{
		URL: published.URL, Issuer: "https://login.example.org", Audience: "https://api.example.org",
	})
	if err != nil {
		panic(err)
	}
	defer verifier.Close()

	access, err := issuer.SignAccess(tokens.Claims{
		Subject: "65f0c0ffee65f0c0ffee0001", ClientID: "app", SessionID: "AAECAwQFBgcICQoLDA0ODw",
		Generation: 1, Expiry: time.Now().Add(15 * time.Minute),
	})
	if err != nil {
		panic(err)
	}
	for _, token := range []string{access, access + "x"} {
		request := httptest.NewRequest("GET", "/orders", nil)
		request.Header.Set("Authorization", "Bearer "+token)
		recorder := httptest.NewRecorder()
		serveOrders(verifier)(recorder, request)
		fmt.Print(recorder.Code, " ", recorder.Body)
	}
	// Output:
	// 200 orders of 65f0c0ffee65f0c0ffee0001
	// 401 the access token is refused
}
