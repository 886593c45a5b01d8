// Package browsertest drives the page of the example server with a real browser. It is a
// module of its own, so that the driver is no burden to the users of oauthsv.
package browsertest
