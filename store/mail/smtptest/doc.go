// Package smtptest runs an SMTP server in the process of a test. It keeps the messages that
// it takes, and can be told to behave badly. Its own tests are those of package mail with
// a real server. The package is a module of its own, so that users of oauthsv do not depend
// on the server.
package smtptest
