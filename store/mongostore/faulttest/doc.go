// Package faulttest checks what users see when the network between mongostore and
// its server fails, with a real proxy in between. It is a module of its own, so
// that the proxy is no burden to the users of oauthsv.
package faulttest
