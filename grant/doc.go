// Package grant is a limited OAuth 2.0 authorization server: the password grant (RFC
// 6749 section 4.3) and the refresh of its tokens (section 6). A [Server] offers them
// as Go calls and as HTTP endpoints. [Server.Mount] puts all endpoints into a mux.
//
//	POST /token ──> Server ──> store (password, session)
//	                       ──> tokens (sign) ──> answer
//
// The other endpoints end sessions (RFC 7009), say whether a token is good (RFC 7662),
// and publish what the server can do (RFC 8414) and its public keys (RFC 7517).
//
// A browser app keeps no refresh token where a script can read it, see [RefreshCookie].
//
// The server ignores "scope". What an account may do is looked up in the store at the
// time of the request, and never written into a token.
package grant
