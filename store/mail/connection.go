package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// connection is the one connection of a delivery. go-mail leaves it open after some
// errors, and knows no context once it is open.
type connection struct {
	smtp *SMTP
	raw  net.Conn
	stop func() bool
}

func (c *connection) open(ctx context.Context) (net.Conn, error) {
	var dialer net.Dialer
	raw, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(c.smtp.host, strconv.Itoa(c.smtp.port)))
	if err != nil {
		return nil, err
	}
	c.raw = raw
	c.stop = context.AfterFunc(ctx, func() { raw.Close() })
	if c.smtp.scheme != "smtps" {
		return raw, nil
	}
	secure := tls.Client(raw, c.smtp.tls)
	return secure, secure.HandshakeContext(ctx)
}

// hurry bounds the wait for the reply to QUIT.
func (c *connection) hurry() { c.raw.SetDeadline(time.Now().Add(2 * time.Second)) }

func (c *connection) close() {
	if c.raw != nil {
		c.stop()
		c.raw.Close()
	}
}

// isLoginCode reports whether a code refuses the login, and not the message (RFC 4954
// section 6). An operator can mend the settings, and no mail must be lost until then.
func isLoginCode(code int) bool {
	return code == 530 || code == 534 || code == 535 || code == 538
}

// describe makes an error of ours from one of go-mail.
func describe(err error, hide ...string) error {
	var reply *textproto.Error
	var failed *gomail.SendError
	code, text := 0, err.Error()
	switch {
	case errors.As(err, &failed):
		code = failed.ErrorCode()
		// What follows are addresses.
		text, _, _ = strings.Cut(text, ", affected recipient(s): ")
		text, _, _ = strings.Cut(text, ", affected message ID: ")
	case errors.As(err, &reply):
		code = reply.Code
		// The reply to a login can repeat user and password, for example in base64.
		if strings.Contains(strings.ToLower(text), "auth") {
			text = fmt.Sprintf("the server refused the login with code %d", code)
		}
	}
	if strings.Contains(text, "STARTTLS mode") { // go-mail's, in words of its own
		text = "the server offers no STARTTLS; for a server on this machine, append ?starttls=off to the URL"
	}
	text = cleanError(text, hide...)
	if code >= 500 && !isLoginCode(code) {
		return fmt.Errorf("%w: %s", ErrRejected, text)
	}
	return fmt.Errorf("mail: SMTP: %s", text)
}
