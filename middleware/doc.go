// Package middleware lets requests with a good access token through to a handler, and
// refuses all others as RFC 6750 says. The handler finds the caller's account in the
// request's context.
//
//	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts})
//	...
//	mux.Handle("GET /orders", auth.Require(orders))
//	mux.Handle("GET /reports", auth.RequireGroup("admin")(reports))
//
// [Authenticator.Require] has the type func(http.Handler) http.Handler. It fits the
// standard mux, chi, gorilla and alice. The handler gets the response writer of the
// server itself, so http.Flusher and the like still work.
//
// A service in another process than the issuer uses a tokens.RemoteVerifier without
// Accounts, or an [Introspection].
package middleware
