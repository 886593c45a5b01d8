// Package faulttest checks what users see when the network between mongostore and its
// server fails, or when the server answers in an unusual way. Two proxies stand between
// them. One cuts and delays connections. The other understands the protocol, and changes
// single commands and replies. The package is a module of its own, so that users of oauthsv
// do not depend on the proxies.
package faulttest
