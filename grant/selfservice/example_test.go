package selfservice_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/tokens"
)

// printer is a Mailer that keeps the last code, for an example. A program takes the queue of
// package store/mail.
type printer struct{ code string }

func (p *printer) Enqueue(prepare func(context.Context) (*store.Mail, error)) error {
	mail, err := prepare(context.Background())
	if err == nil && mail != nil {
		p.code = mail.Code
		fmt.Println("mail to", mail.To+":", mail.Kind)
	}
	return nil
}

// newExample makes the endpoints over accounts in memory.
func newExample(mailer store.Mailer) (*selfservice.Handlers, error) {
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New(), Mailer: mailer})
	if err != nil {
		return nil, err
	}
	key, err := tokens.GenerateKey(tokens.HS512)
	if err != nil {
		return nil, err
	}
	keys, err := tokens.NewKeyring(key)
	if err != nil {
		return nil, err
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "https://login.example.org"})
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer, Logger: quiet})
	if err != nil {
		return nil, err
	}
	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})
	if err != nil {
		return nil, err
	}
	return selfservice.New(selfservice.Config{Server: server, Auth: auth})
}

// Somebody registers: a code comes by mail, and makes the account.
func Example() {
	mailer := &printer{}
	handlers, err := newExample(mailer)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	handlers.Mount(mux)
	web := httptest.NewServer(mux)
	defer web.Close()

	post := func(path, body string) {
		response, err := http.Post(web.URL+path, "application/json", strings.NewReader(body))
		if err != nil {
			panic(err)
		}
		defer response.Body.Close()
		fmt.Println(path, response.Status)
	}
	post("/accounts", `{"name": "ada", "email": "ada@example.org"}`)
	post("/accounts/confirm", `{"code": "`+mailer.code+`", "password": "correct horse battery staple"}`)
	post("/accounts/confirm", `{"code": "`+mailer.code+`", "password": "correct horse battery staple"}`)
	post("/password-reset", `{"email": "ada@example.org"}`)
	post("/password-reset/confirm", `{"code": "`+mailer.code+`", "password": "battery staple correct horse"}`)
	// Output:
	// mail to ada@example.org: registration
	// /accounts 202 Accepted
	// /accounts/confirm 201 Created
	// /accounts/confirm 400 Bad Request
	// mail to ada@example.org: password_reset
	// /password-reset 202 Accepted
	// mail to ada@example.org: password_changed
	// /password-reset/confirm 204 No Content
}

// Leave an endpoint out: here users cannot remove their accounts.
func ExampleHandlers_Endpoints() {
	handlers, err := newExample(nil)
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	for _, endpoint := range handlers.Endpoints() {
		if endpoint.Pattern() != "DELETE /me" {
			mux.Handle(endpoint.Pattern(), endpoint.Handler)
		}
	}
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest("DELETE", "/me", nil))
	fmt.Println(answer.Code, answer.Header().Get("Allow"))
	// Output:
	// 405 GET, HEAD, PATCH
}
