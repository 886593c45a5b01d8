// Package clienttest drives the example server with OAuth clients that others
// have written. It is a module of its own, so that those clients are no burden to
// the users of oauthsv.
package clienttest
