// Package oauthsv gives any net/http program its own login: a token endpoint to
// mount in a mux, and a Bearer middleware that puts the caller's account ObjectID
// into the request's context. It is limited OAuth 2.0 for one's own apps: the
// password grant and the refresh of RFC 6749, JWT access tokens, and their use as
// RFC 6750 says.
//
// This package holds no code. What there is:
//
//   - tokens signs and verifies the JWTs;
//   - store keeps accounts and sessions, in MongoDB, in a file or in memory;
//   - grant is the token endpoint;
//   - middleware protects handlers, and middleware/middlewaretest helps to test them;
//   - grant/selfservice and grant/admin are endpoints for users and for administrators;
//   - example_server is all of it in one command.
//
// README.md tells how to start.
package oauthsv
