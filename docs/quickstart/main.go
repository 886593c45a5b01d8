// Command quickstart is the program of the README: a service with its own login.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/tokens"
)

const address = "localhost:8080"

func main() {
	app, err := newApp()
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(address, app))
}

func newApp() (http.Handler, error) {
	keys, err := tokens.OpenKeyring(tokens.KeyFile{Path: "app.key"}) // made on first start
	if err != nil {
		return nil, err
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: "http://" + address})
	if err != nil {
		return nil, err
	}
	backend, err := boltstore.Open("accounts.db", boltstore.Config{}) // or mongostore.Open, or memstore.New
	if err != nil {
		return nil, err
	}
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	if err != nil {
		return nil, err
	}
	server, err := grant.NewServer(grant.Config{Accounts: accounts, Issuer: issuer})
	if err != nil {
		return nil, err
	}
	auth, err := middleware.New(middleware.Config{
		Verifier: issuer.Verifier(), Accounts: accounts, TokenReused: server.TokenReused,
	})
	if err != nil {
		return nil, err
	}
	root, err := accounts.EnsureRoot(context.Background(), "root", "root@localhost", "")
	if err != nil {
		return nil, err
	}
	if root.Created {
		log.Printf("made the account root with the password %s", root.Password)
	}

	mux := http.NewServeMux()
	server.Mount(mux) // POST /token and its companions
	mux.Handle("GET /orders", auth.Require(http.HandlerFunc(orders)))
	mux.Handle("GET /reports", auth.RequireGroup("admin")(http.HandlerFunc(orders)))
	return mux, nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "the orders of account %s\n", middleware.MustAccountID(r.Context()).Hex())
}
