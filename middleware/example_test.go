package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/tokens"
)

func Example() {
	key, _ := tokens.GenerateKey(tokens.HS512) // errors are left out for brevity
	keys, _ := tokens.NewKeyring(key)
	accounts, _ := store.NewAccounts(store.Config{Backend: memstore.New()})
	issuer, _ := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "https://login.example.org"})
	server, _ := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer})
	auth, _ := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})

	mux := http.NewServeMux()
	server.Mount(mux)
	mux.Handle("GET /hello", auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", middleware.MustAccount(r.Context()).Name)
	})))

	ada, _ := accounts.Create(context.Background(), store.NewAccount{Name: "ada", Email: "ada@example.org", NoPassword: true})
	response, _ := server.Issue(context.Background(), ada.ID, grant.Origin{})
	for _, header := range []string{"Bearer " + response.AccessToken, "Bearer " + response.RefreshToken, ""} {
		request := httptest.NewRequest("GET", "/hello", nil)
		if header != "" {
			request.Header.Set("Authorization", header)
		}
		recorder := httptest.NewRecorder()
		mux.ServeHTTP(recorder, request)
		fmt.Print(recorder.Code, " ", recorder.Body)
	}
	// Output:
	// 200 hello ada
	// 401 {"error":"invalid_token","error_description":"the access token is invalid, expired or revoked"}
	// 401 {}
}
