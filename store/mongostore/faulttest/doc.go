// Package faulttest checks what users see when the network between mongostore and
// its server fails, or when the server answers what it does not in a quiet test. Two
// proxies stand in between: one cuts and delays connections, the other understands
// the protocol and changes single commands and replies. It is a module of its own, so
// that the proxies are no burden to the users of oauthsv.
package faulttest
