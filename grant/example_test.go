package grant_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/tokens"
)

// newExample makes what all examples here begin with: accounts, one of them named
// root, and an issuer.
func newExample() (*store.Accounts, *tokens.Issuer, error) {
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New()})
	if err != nil {
		return nil, nil, err
	}
	if _, err := accounts.EnsureRoot(context.Background(), "root", "root@localhost", "correct horse battery staple"); err != nil {
		return nil, nil, err
	}
	key, err := tokens.GenerateKey(tokens.HS512)
	if err != nil {
		return nil, nil, err
	}
	keys, err := tokens.NewKeyring(key)
	if err != nil {
		return nil, nil, err
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "https://login.example.org"})
	return accounts, issuer, err
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// Log in and refresh by Go calls.
func Example() {
	accounts, issuer, err := newExample()
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer, Logger: quiet})
	if err != nil {
		panic(err)
	}

	ctx := context.Background()
	response, err := server.Password(ctx, grant.PasswordRequest{Username: "root", Password: "correct horse battery staple"})
	if err != nil {
		panic(err)
	}
	fmt.Println(response.TokenType, response.ExpiresIn)
	refreshed, err := server.Refresh(ctx, grant.RefreshRequest{RefreshToken: response.RefreshToken})
	if err != nil {
		panic(err)
	}
	fmt.Println(refreshed.SessionID == response.SessionID)
	_, err = server.Password(ctx, grant.PasswordRequest{Username: "root", Password: "wrong"})
	fmt.Println(err)
	// Output:
	// Bearer 900
	// true
	// grant: invalid_grant: unknown name or wrong password: store: unknown name or wrong password
}

// Mount all endpoints in one statement.
func ExampleServer_Mount() {
	accounts, issuer, err := newExample()
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer, Logger: quiet})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	server.Mount(mux)

	web := httptest.NewServer(mux)
	defer web.Close()
	response, err := http.PostForm(web.URL+"/token", url.Values{
		"grant_type": {"password"}, "username": {"root"}, "password": {"correct horse battery staple"},
	})
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	for _, endpoint := range server.Endpoints() {
		fmt.Println(endpoint.Path)
	}
	// Output:
	// 200 OK
	// /token
	// /revoke
	// /.well-known/jwks.json
	// /.well-known/oauth-authorization-server
}

// Only registered clients may log users in, each with its own grants and lifetimes.
func ExampleNewClients() {
	accounts, issuer, err := newExample()
	if err != nil {
		panic(err)
	}
	secret, hash := grant.NewClientSecret()
	clients, err := grant.NewClients(
		grant.Client{ID: "app"},                    // public: it cannot keep a secret
		grant.Client{ID: "cron", SecretHash: hash}, // confidential
	)
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer, Clients: clients, Logger: quiet})
	if err != nil {
		panic(err)
	}
	ask := func(clientID, clientSecret string) {
		form := url.Values{
			"grant_type": {"password"}, "username": {"root"}, "password": {"correct horse battery staple"},
			"client_id": {clientID}, "client_secret": {clientSecret},
		}
		request := httptest.NewRequest("POST", "/token", strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		recorder := httptest.NewRecorder()
		server.TokenHandler().ServeHTTP(recorder, request)
		fmt.Println(clientID, recorder.Code)
	}
	ask("app", "")
	ask("cron", secret)
	ask("cron", "a guess")
	ask("stranger", "")
	// Output:
	// app 200
	// cron 200
	// cron 401
	// stranger 401
}

// A caller in the group "introspect" asks whether an access token is good.
func ExampleServer_IntrospectionHandler() {
	accounts, issuer, err := newExample()
	if err != nil {
		panic(err)
	}
	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{
		Accounts: accounts, Issuer: issuer, Logger: quiet,
		MayIntrospect: auth.MayIntrospect(func(account *store.Account) bool { return account.InGroup("introspect") }),
	})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	service, err := accounts.Create(ctx, store.NewAccount{Name: "service", Email: "service@example.org", NoPassword: true, Groups: []string{"introspect"}})
	if err != nil {
		panic(err)
	}
	own, err := server.Issue(ctx, service.ID, grant.Origin{})
	if err != nil {
		panic(err)
	}
	ask := func(token string) {
		request := httptest.NewRequest("POST", "/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Authorization", "Bearer "+own.AccessToken)
		recorder := httptest.NewRecorder()
		server.IntrospectionHandler().ServeHTTP(recorder, request)
		body, _, _ := strings.Cut(recorder.Body.String(), ",")
		fmt.Println(recorder.Code, body)
	}
	ask(own.AccessToken)
	ask(own.RefreshToken)
	// Output:
	// 200 {"active":true
	// 200 {"active":false}
}

// A browser app keeps no refresh token: it is in a cookie that its scripts cannot read.
func ExampleRefreshCookie() {
	accounts, issuer, err := newExample()
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{
		Accounts: accounts, Issuer: issuer, Logger: quiet,
		RefreshCookies: map[string]*grant.RefreshCookie{"app": {}},
	})
	if err != nil {
		panic(err)
	}
	web := httptest.NewTLSServer(server.TokenHandler()) // the cookie needs HTTPS
	defer web.Close()
	browser := web.Client()
	browser.Jar, err = cookiejar.New(nil)
	if err != nil {
		panic(err)
	}
	ask := func(form url.Values) {
		response, err := browser.PostForm(web.URL+"/token", form)
		if err != nil {
			panic(err)
		}
		defer response.Body.Close()
		var body map[string]any
		if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
			panic(err)
		}
		_, inBody := body["refresh_token"]
		fmt.Println(response.StatusCode, body["token_type"], inBody, response.Cookies()[0].Name)
	}
	ask(url.Values{
		"grant_type": {"password"}, "client_id": {"app"}, "username": {"root"}, "password": {"correct horse battery staple"},
	})
	ask(url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}}) // the browser adds the cookie
	// Output:
	// 200 Bearer false __Host-refresh_token
	// 200 Bearer false __Host-refresh_token
}

// An endpoint of your own logs users in with a code from a mail, for every kind of client.
func ExampleServer_WriteTokens() {
	accounts, issuer, err := newExample()
	if err != nil {
		panic(err)
	}
	server, err := grant.NewServer(grant.Config{
		Accounts: accounts, Issuer: issuer, Logger: quiet,
		RefreshCookies: map[string]*grant.RefreshCookie{"app": {}},
	})
	if err != nil {
		panic(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := server.Origin(r)
		origin.ClientID = r.PostFormValue("client_id")
		if _, err := server.RefreshCookie(r, origin.ClientID); err != nil { // from another site
			grant.WriteError(w, err)
			return
		}
		account, err := accounts.FindByName(r.Context(), "root") // whoever the code is for
		if err != nil {
			grant.WriteError(w, err)
			return
		}
		response, err := server.Issue(r.Context(), account.ID, origin)
		if err != nil {
			grant.WriteError(w, err)
			return
		}
		server.WriteTokens(w, response)
	})
	ask := func(clientID, site string) {
		request := httptest.NewRequest("POST", "/code", strings.NewReader(url.Values{"client_id": {clientID}}.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", site)
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		fmt.Println(clientID, recorder.Code, strings.Contains(recorder.Body.String(), "refresh_token"), len(recorder.Result().Cookies()))
	}
	ask("app", "same-origin")
	ask("app", "cross-site")
	ask("cli", "same-origin")
	// Output:
	// app 200 false 1
	// app 403 false 0
	// cli 200 true 0
}
