// Package browserapp lets a browser app of another origin use the kit. It is an example
// to copy, not a package to import.
package browserapp

import (
	"fmt"
	"net/http"

	"github.com/rs/cors"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
)

// newSite is an API with its login, for a browser app that appOrigin serves.
func newSite(server *grant.Server, auth *middleware.Authenticator, appOrigin string) http.Handler {
	return cors.New(policy(appOrigin)).Handler(newMux(server, auth))
}

func policy(appOrigin string) cors.Options {
	return cors.Options{
		AllowedOrigins: []string{appOrigin}, // such as "https://app.example.org"
		AllowedMethods: []string{"GET", "POST", "PUT", "PATCH", "DELETE"},
		AllowedHeaders: []string{"Authorization", "Content-Type"},
		ExposedHeaders: []string{"WWW-Authenticate", "Retry-After"},
		MaxAge:         600, // seconds for which browsers remember the answer
	}
}

func newMux(server *grant.Server, auth *middleware.Authenticator) http.Handler {
	mux := http.NewServeMux()
	server.Mount(mux)
	mux.Handle("PUT /orders", auth.Require(http.HandlerFunc(orders)))
	return mux
}

func orders(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, "the orders of ", middleware.MustAccountID(r.Context()).Hex())
}
