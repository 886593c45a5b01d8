// Package middleware lets requests with a good access token through to a handler
// and refuses the others as RFC 6750 says. The handler finds the caller's account
// in the request's context.
//
//	auth, err := middleware.New(middleware.Config{Verifier: verifier, Accounts: accounts})
//	...
//	mux.Handle("GET /orders", auth.Require(orders))
//	mux.Handle("GET /reports", auth.RequireGroup("admin")(reports))
//
// [Authenticator.Require] has the type func(http.Handler) http.Handler, so it fits
// every router. The response writer is passed on as it is: http.Flusher and its
// kin stay what they were.
package middleware
