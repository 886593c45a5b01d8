// Package resourceserver protects an API in another process than the issuer of its
// tokens. It is an example to copy, not a package to import.
package resourceserver

import (
	"context"
	"net/http"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/tokens"
)

// newAPIByKeys protects an API with the public keys of the issuer. It fetches them until
// ctx ends.
func newAPIByKeys(ctx context.Context, issuer string) (http.Handler, error) {
	verifier, err := tokens.NewRemoteVerifier(tokens.RemoteConfig{
		URL:      issuer + "/.well-known/jwks.json",
		Issuer:   issuer,
		Audience: audience,
	})
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, verifier.Close)
	auth, err := middleware.New(middleware.Config{Verifier: verifier})
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(http.HandlerFunc(orders)))
	return mux, nil
}
