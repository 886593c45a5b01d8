package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oauthsv/oauthsv/tokens"
)

// An issuer signs a token of each kind. Its verifier accepts the access token and
// refuses the refresh token.
func Example() {
	key, err := tokens.GenerateKey(tokens.HS512)
	if err != nil {
		panic(err)
	}
	keys, err := tokens.NewKeyring(key)
	if err != nil {
		panic(err)
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "https://login.example.org"})
	if err != nil {
		panic(err)
	}

	claims := tokens.Claims{
		Subject: "65f0c0ffee65f0c0ffee0001", ClientID: "app", SessionID: "AAECAwQFBgcICQoLDA0ODw",
		Generation: 1, Expiry: time.Now().Add(time.Hour),
	}
	access, err := issuer.SignAccess(claims)
	if err != nil {
		panic(err)
	}
	refresh, err := issuer.SignRefresh(claims)
	if err != nil {
		panic(err)
	}

	verified, err := issuer.Verifier().Verify(context.Background(), access)
	fmt.Println(verified.Subject, verified.Generation, err)
	_, err = issuer.Verifier().Verify(context.Background(), refresh)
	fmt.Println(errors.Is(err, tokens.ErrType), err)
	// Output:
	// 65f0c0ffee65f0c0ffee0001 1 <nil>
	// true tokens: token of another type
}

// A secret that is too short is refused. The error says how to make a good one.
func ExampleParseKeys() {
	_, err := tokens.ParseKeys([]byte("seven77"))
	fmt.Println(err)
	// Output:
	// tokens: unusable key: an HMAC secret of 7 bytes is too short: HS512 needs at least 64 (RFC 7518 section 3.2); make one with: openssl rand -hex 64
}
