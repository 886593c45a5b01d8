// Package grant is the token endpoint of a limited OAuth 2.0 authorization
// server: the password grant (RFC 6749 section 4.3) and the refresh of its tokens
// (section 6), as Go calls on a [Server] and as an http.Handler.
//
//	POST /token ──> Handler ──> Server ──> store (password, session)
//	                                   ──> tokens (sign) ──> answer
//
// "scope" is ignored: what an account may do is looked up in the store when it
// asks for something, not written into its tokens.
package grant
