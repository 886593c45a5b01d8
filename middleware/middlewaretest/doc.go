// Package middlewaretest makes what the test of a protected handler needs: accounts,
// access tokens, and a clock that a test can move.
//
// [New] makes a whole kit in memory: the accounts, the issuer, the token endpoint and
// the middleware. Wrap your handler with Kit.Auth, and call it with [Kit.Request].
// The tokens are real, so what a test sees is what a client sees.
//
// The package is for tests alone.
package middlewaretest
