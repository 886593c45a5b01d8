// Package tokens signs and verifies the two kinds of JWT (RFC 7519) of oauthsv.
//
// A client sends an access token (header "typ":"at+jwt", RFC 9068) to the API with
// each request. An [Issuer] signs it with the active [Key] of its [Keyring]. A
// [Verifier] checks it with the same key or, for every algorithm but HS512, with the
// public half of that key.
//
// A client sends a refresh token (header "typ":"rt+jwt") to the token endpoint and
// nowhere else. Its algorithm is always HS512. Its key is derived from the signing
// key with HKDF (RFC 5869) and never leaves the process, so only an Issuer with the
// signing key can check it. Neither kind is accepted where the other is expected.
//
// Both kinds name an account (the subject), a session and the generation of that
// session. A verified token is genuine, and no more: its session may have ended and
// its account may be gone. This package cannot know. Package middleware asks the
// store about both.
package tokens
