// Package grant is the token endpoint of a limited OAuth 2.0 authorization
// server: the password grant (RFC 6749 section 4.3) and the refresh of its tokens
// (section 6), as Go calls on a [Server] and as an http.Handler.
//
//	POST /token ──> Handler ──> Server ──> store (password, session)
//	                                   ──> tokens (sign) ──> answer
//
// Beside it stand the endpoints that make sessions and keys operable: revocation
// (RFC 7009), introspection (RFC 7662), and the metadata (RFC 8414) and keys (RFC
// 7517) that others find the server by.
//
// "scope" is ignored: what an account may do is looked up in the store when it
// asks for something, not written into its tokens.
package grant
