package mail

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/idna"
)

// SMTPConfig configures [SMTP].
type SMTPConfig struct {
	// URL is the server, such as smtp://user:password@smtp.example.com:587. Required.
	//
	// With smtp, the server must offer STARTTLS, so that nobody reads the password and
	// the mails on the way. For a server without it, for example on the same machine,
	// append ?starttls=off: then all goes in clear. The scheme smtps is for servers that
	// expect TLS from the first byte. The default ports are 587 and 465. In a password,
	// write special characters percent-encoded, such as %2F for a slash.
	URL string
	// From is the address that mails come from, with or without a name, such as
	// "Example <no-reply@example.com>". Required.
	From string
	// Timeout ends a delivery that takes too long. The default is 30 seconds.
	Timeout time.Duration
	// TLS is for servers whose certificate comes from a private authority. The default
	// trusts those of the operating system.
	TLS *tls.Config
}

// SMTP is a Sender that speaks SMTP. It opens a connection for each message.
type SMTP struct {
	scheme, host   string
	port           int
	cleartext      bool
	user, password string
	from           *mail.Address
	timeout        time.Duration
	tls            *tls.Config
}

// NewSMTP makes a Sender. It does not connect yet. It checks the whole configuration and
// returns one error that names each wrong field, and repeats nothing of the URL.
func NewSMTP(config SMTPConfig) (*SMTP, error) {
	s := &SMTP{timeout: config.Timeout, tls: config.TLS.Clone()}
	problems := s.readURL(config.URL)
	var err error
	if s.from, err = parseAddress(config.From); err != nil {
		problems = append(problems, fmt.Sprintf("From is %q: it must be one address such as no-reply@example.com, or Example <no-reply@example.com>", config.From))
	}
	if s.timeout < 0 {
		problems = append(problems, fmt.Sprintf("Timeout is %v: it must not be negative", s.timeout))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("mail: SMTP configuration: %s", strings.Join(problems, "; "))
	}
	if s.timeout == 0 {
		s.timeout = 30 * time.Second
	}
	if s.tls == nil {
		s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if s.tls.ServerName == "" {
		s.tls.ServerName = s.host
	}
	return s, nil
}

// readURL repeats no part of the URL in its answer. Any part can be one of the password,
// for example the "port" of smtp://user:pass/word@host.
func (s *SMTP) readURL(text string) (problems []string) {
	if text == "" {
		return []string{"URL is required, such as smtp://user:password@mail.example.com:587"}
	}
	location, err := url.Parse(text)
	if err != nil {
		return []string{"URL cannot be read: it must look like smtp://user:password@host:587, with special characters in the password percent-encoded"}
	}
	problem := func(text string) { problems = append(problems, "URL "+text) }
	s.scheme, s.host = strings.ToLower(location.Scheme), location.Hostname()
	switch s.scheme {
	case "smtp":
		s.port = 587
	case "smtps":
		s.port = 465
	default:
		return []string{"URL must begin with smtp:// or smtps://, such as smtp://user:password@mail.example.com:587"}
	}
	if s.host == "" {
		problem("must name a host")
	}
	if port := location.Port(); port != "" {
		if s.port, err = strconv.Atoi(port); err != nil || s.port < 1 || s.port > 65535 {
			problem("must have a port between 1 and 65535")
		}
	}
	if strings.Trim(location.Path, "/") != "" || location.Fragment != "" {
		problem(`must end after the host and port; if the password has "/" or "#", write %2F or %23`)
	}
	query, err := url.ParseQuery(location.RawQuery)
	s.cleartext = s.scheme == "smtp" && len(query) == 1 && len(query["starttls"]) == 1 && query.Get("starttls") == "off"
	if err != nil || len(query) > 0 && !s.cleartext {
		problem(`can have no other query than ?starttls=off, after smtp://; if the password has "?", write %3F`)
	}
	if location.User != nil {
		s.user = location.User.Username()
		s.password, _ = location.User.Password()
		if s.user == "" || s.password == "" {
			problem("must have both a user and a password, or none")
		}
		if strings.ContainsFunc(s.user+s.password, unicode.IsControl) {
			problem("must not have control characters in the user or password")
		}
	}
	return problems
}

// String returns the URL of the server without user and password.
func (s *SMTP) String() string {
	return s.scheme + "://" + net.JoinHostPort(s.host, strconv.Itoa(s.port))
}

// GoString hides the password from %#v.
func (s *SMTP) GoString() string { return "mail.SMTP(" + s.String() + ")" }

// parseAddress reads an address, with or without a display name. It brings the domain into
// its ASCII form, which every server knows.
func parseAddress(text string) (*mail.Address, error) {
	address, err := mail.ParseAddress(text)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return nil, errors.New("control character")
	}
	at := strings.LastIndexByte(address.Address, '@')
	domain, err := idna.Lookup.ToASCII(address.Address[at+1:])
	if err != nil {
		return nil, err
	}
	address.Address = address.Address[:at+1] + domain
	return address, nil
}

// parseRecipient reads an address alone. Names, comments and groups, which net/mail also
// takes for an address, are none.
func parseRecipient(text string) (*mail.Address, error) {
	plain, err := mail.ParseAddress(text)
	if err != nil || plain.String() != "<"+text+">" {
		return nil, fmt.Errorf("%w: the recipient is no valid address", ErrRejected)
	}
	to, err := parseAddress(text)
	if err != nil {
		return nil, fmt.Errorf("%w: the recipient is no valid address", ErrRejected)
	}
	return to, nil
}

// Send delivers the message. It returns an error that matches [ErrRejected] if the server
// refuses the message for good, with a reply of 500 or above. A refused login is no such
// error: an operator can mend it. Errors hold no address and no password.
func (s *SMTP) Send(ctx context.Context, message Message) error {
	envelope, err := s.compose(message)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, fmt.Errorf("not done within %v: %w", s.timeout, context.DeadlineExceeded))
	defer cancel()
	connection := &connection{smtp: s}
	defer connection.close()
	err = s.deliver(ctx, connection, envelope)
	switch {
	case err == nil, envelope.IsDelivered():
		return nil // what fails after the server has taken the message does not matter
	case ctx.Err() != nil:
		return fmt.Errorf("mail: SMTP: %w", context.Cause(ctx))
	}
	return describe(err, message.To, s.user, s.password)
}

func (s *SMTP) compose(message Message) (*gomail.Msg, error) {
	to, err := parseRecipient(message.To)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(message.Subject, unicode.IsControl) {
		return nil, fmt.Errorf("%w: the subject has control characters", ErrRejected)
	}
	envelope := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP))
	envelope.FromMailAddress(s.from)
	envelope.ToMailAddress(to)
	envelope.Subject(strings.ToValidUTF8(message.Subject, "\ufffd"))
	envelope.SetDateWithValue(time.Now().UTC())
	// The default of go-mail would tell the name of this machine.
	envelope.SetMessageIDWithValue(rand.Text() + s.from.Address[strings.LastIndexByte(s.from.Address, '@'):])
	envelope.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	envelope.SetBodyString(gomail.TypeTextPlain, strings.ToValidUTF8(message.Text, "\ufffd"))
	return envelope, nil
}

// deliver makes a client for each message, because go-mail's is not safe for concurrent
// logins. The context ends a delivery, so go-mail's own timeout must come later.
func (s *SMTP) deliver(ctx context.Context, connection *connection, envelope *gomail.Msg) error {
	options := []gomail.Option{
		gomail.WithPort(s.port), gomail.WithTimeout(2 * s.timeout), gomail.WithTLSConfig(s.tls),
		gomail.WithDialContextFunc(func(context.Context, string, string) (net.Conn, error) { return connection.open(ctx) }),
		gomail.WithoutNoop(), gomail.WithoutRset(),
	}
	switch {
	case s.scheme == "smtps":
		options = append(options, gomail.WithSSL())
	case s.cleartext:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		options = append(options, gomail.WithTLSPolicy(gomail.TLSMandatory))
	}
	if s.user != "" {
		mechanisms := []gomail.SMTPAuthType{gomail.SMTPAuthPlain, gomail.SMTPAuthLogin, gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthCramMD5}
		if s.cleartext { // prefer those that do not send the password
			mechanisms = []gomail.SMTPAuthType{gomail.SMTPAuthSCRAMSHA256, gomail.SMTPAuthSCRAMSHA1, gomail.SMTPAuthCramMD5, gomail.SMTPAuthPlainNoEnc, gomail.SMTPAuthLoginNoEnc}
		}
		options = append(options, gomail.WithUsername(s.user), gomail.WithPassword(s.password), gomail.WithOpportunisticSMTPAuth(mechanisms...))
	}
	// Relays without SMTPUTF8 would refuse a mail that asks for it and does not need it.
	if isASCII(s.from.Address) && isASCII(envelope.GetTo()[0].Address) {
		options = append(options, gomail.WithoutSMTPUTF8())
	}
	client, err := gomail.NewClient(s.host, options...)
	if err != nil {
		return err
	}
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return err
	}
	if err := client.SendWithSMTPClient(session, envelope); err != nil {
		return err
	}
	connection.hurry()
	return client.CloseWithSMTPClient(session)
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
}
