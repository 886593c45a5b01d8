// Package ownhandlers has handlers with tests of their protection. It is an example to
// copy, not a package to import.
package ownhandlers

import (
	"fmt"
	"net/http"

	"github.com/oauthsv/oauthsv/middleware"
)

func newAPI(auth *middleware.Authenticator) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(http.HandlerFunc(orders)))
	mux.Handle("GET /reports", auth.RequireGroup("staff")(http.HandlerFunc(orders)))
	return mux
}

func orders(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "the orders of %s", middleware.MustAccount(r.Context()).Name)
}
