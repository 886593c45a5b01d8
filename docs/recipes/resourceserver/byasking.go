package resourceserver

import (
	"fmt"
	"net/http"

	"github.com/oauthsv/oauthsv/middleware"
)

// newAPIByAsking protects an API by asking the issuer about each token.
func newAPIByAsking(issuer, clientSecret string) (http.Handler, error) {
	introspection, err := middleware.NewIntrospection(middleware.IntrospectionConfig{
		URL:          issuer + "/introspect",
		ClientID:     "orders-api",
		ClientSecret: clientSecret,
		Audience:     audience,
	})
	if err != nil {
		return nil, err
	}
	auth, err := middleware.New(middleware.Config{Verifier: introspection, Accounts: introspection})
	if err != nil {
		return nil, err
	}

	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.Require(http.HandlerFunc(orders)))
	mux.Handle("GET /reports", auth.RequireGroup("staff")(http.HandlerFunc(orders)))
	return mux, nil
}

func orders(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, "the orders of ", middleware.MustAccountID(r.Context()).Hex())
}
