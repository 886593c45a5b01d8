package middleware_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/tokens"
)

// newExample makes the issuing half of the examples, with an account ada, and tokens
// for it.
func newExample(algorithm tokens.Algorithm) (*store.Accounts, *tokens.Issuer, *grant.Server, *grant.Response, error) {
	fail := func(err error) (*store.Accounts, *tokens.Issuer, *grant.Server, *grant.Response, error) {
		return nil, nil, nil, nil, err
	}
	key, err := tokens.GenerateKey(algorithm)
	if err != nil {
		return fail(err)
	}
	keys, err := tokens.NewKeyring(key)
	if err != nil {
		return fail(err)
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "https://login.example.org"})
	if err != nil {
		return fail(err)
	}
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New()})
	if err != nil {
		return fail(err)
	}
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fail(err)
	}
	ada, err := accounts.Create(context.Background(), store.NewAccount{Name: "ada", Email: "ada@example.org", NoPassword: true})
	if err != nil {
		return fail(err)
	}
	response, err := server.Issue(context.Background(), ada.ID, grant.Origin{ClientID: "app"})
	return accounts, issuer, server, response, err
}

// call shows what a handler answers to an Authorization header.
func call(handler http.Handler, authorization string) {
	request := httptest.NewRequest("GET", "/", nil)
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	fmt.Print(recorder.Code, " ", recorder.Body)
}

// Protect a handler.
func Example() {
	accounts, issuer, _, response, err := newExample(tokens.HS512)
	if err != nil {
		panic(err)
	}
	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})
	if err != nil {
		panic(err)
	}
	hello := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", middleware.MustAccount(r.Context()).Name)
	}))

	call(hello, "Bearer "+response.AccessToken)
	call(hello, "Bearer "+response.RefreshToken)
	call(hello, "")
	// Output:
	// 200 hello ada
	// 401 {"error":"invalid_token","error_description":"the access token is invalid, expired or revoked"}
	// 401 {}
}

// Let callers through by a check of your own.
func ExampleAuthenticator_RequireFunc() {
	accounts, issuer, _, response, err := newExample(tokens.HS512)
	if err != nil {
		panic(err)
	}
	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})
	if err != nil {
		panic(err)
	}
	confirmed := auth.RequireFunc(func(account *store.Account) bool { return account.Phone != "" })
	call(confirmed(http.NotFoundHandler()), "Bearer "+response.AccessToken)
	// Output:
	// 403 {"error":"insufficient_scope","error_description":"the account may not do this"}
}

// A service in another process, without access to the accounts, verifies tokens with
// the public keys of the issuer.
func ExampleNew_resourceServer() {
	_, _, server, response, err := newExample(tokens.EdDSA)
	if err != nil {
		panic(err)
	}
	issuer := httptest.NewServer(server.JWKSHandler())
	defer issuer.Close()

	verifier, err := tokens.NewRemoteVerifier(tokens.RemoteConfig{URL: issuer.URL, Issuer: "https://login.example.org"})
	if err != nil {
		panic(err)
	}
	defer verifier.Close()
	auth, err := middleware.New(middleware.Config{Verifier: verifier})
	if err != nil {
		panic(err)
	}
	hello := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller := middleware.MustFromContext(r.Context())
		fmt.Fprintln(w, "hello", caller.AccountID == response.AccountID, caller.ClientID)
	}))
	call(hello, "Bearer "+response.AccessToken)
	// Output:
	// 200 hello true app
}

// A service in another process asks the issuer at each request. It knows at once that
// a session has ended, and in which groups the account is.
func ExampleNewIntrospection() {
	accounts, issuer, _, response, err := newExample(tokens.HS512)
	if err != nil {
		panic(err)
	}
	secret, hash := grant.NewClientSecret()
	clients, err := grant.NewClients(grant.Client{ID: "orders", SecretHash: hash, MayIntrospect: true})
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer, Clients: clients})
	if err != nil {
		panic(err)
	}
	endpoint := httptest.NewServer(server.IntrospectionHandler())
	defer endpoint.Close()

	introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{
		URL: endpoint.URL, ClientID: "orders", ClientSecret: secret,
	})
	if err != nil {
		panic(err)
	}
	auth, err := middleware.New(middleware.Config{Verifier: introspection, Accounts: introspection})
	if err != nil {
		panic(err)
	}
	hello := auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", middleware.MustAccount(r.Context()).Name)
	}))
	call(hello, "Bearer "+response.AccessToken)
	if err := accounts.EndSessions(context.Background(), response.AccountID, ""); err != nil {
		panic(err)
	}
	call(hello, "Bearer "+response.AccessToken)
	// Output:
	// 200 hello ada
	// 401 {"error":"invalid_token","error_description":"the access token is invalid, expired or revoked"}
}

// A test of a handler needs no token.
func ExampleAuthenticator_NewContext() {
	accounts, issuer, _, _, err := newExample(tokens.HS512)
	if err != nil {
		panic(err)
	}
	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})
	if err != nil {
		panic(err)
	}
	handler := auth.RequireGroup("editors")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "edited by", middleware.MustAccount(r.Context()).Name)
	}))

	editor := &store.Account{ID: store.NewID(), Name: "grace", Groups: []string{"editors"}}
	request := httptest.NewRequest("GET", "/", nil)
	request = request.WithContext(auth.NewContext(request.Context(), &middleware.Caller{Account: editor}))
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	fmt.Print(recorder.Code, " ", recorder.Body)
	// Output:
	// 200 edited by grace
}
