// Package tokens signs and verifies the two kinds of JWT (RFC 7519) of oauthsv.
//
// An access token (header "typ":"at+jwt", RFC 9068) goes to the API with each
// request. It is signed with the active [Key] of a [Keyring]; whoever holds that
// key, or its public half, can check it with a [Verifier].
//
// A refresh token (header "typ":"rt+jwt") goes back to the token endpoint and
// nowhere else. It is always HS512, under a key that is derived with HKDF
// (RFC 5869) from the signing key and never leaves the process, so only the
// [Issuer] itself can check it. Neither kind passes where the other is expected.
//
// Both name an account (the subject), a session and the generation of that
// session. Whether the account and the session still exist is not for this
// package to know: a token that verifies here is genuine, no more.
package tokens
