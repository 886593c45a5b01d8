package smtptest_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	oauthmail "github.com/oauthsv/oauthsv/store/mail"
	"github.com/oauthsv/oauthsv/store/mail/smtptest"
)

// assertSecret checks that nobody on the way, and nobody who reads the error, learns the
// password.
func assertSecret(t *testing.T, server *smtptest.Server, err error) {
	t.Helper()
	wire := string(server.Wire())
	for word := range strings.FieldsSeq(wire) {
		decoded, notBase64 := base64.StdEncoding.DecodeString(word)
		if notBase64 == nil {
			assert.NotContains(t, string(decoded), password)
		}
	}
	assert.NotContains(t, wire, password)
	if err != nil {
		for _, secret := range []string{password, "hunter2", base64.StdEncoding.EncodeToString([]byte("\x00ann@mail\x00" + password)), "ann@"} {
			assert.NotContains(t, err.Error(), secret)
		}
	}
}

func TestMessageArrivesOverEachKindOfConnection(t *testing.T) {
	for name, options := range map[string]smtptest.Options{
		"STARTTLS":                   {},
		"STARTTLS and login":         {User: "ann@mail", Password: password},
		"smtps":                      {TLS: smtptest.ImplicitTLS},
		"smtps and login":            {TLS: smtptest.ImplicitTLS, User: "ann@mail", Password: password},
		"starttls=off":               {TLS: smtptest.NoTLS},
		"starttls=off and login":     {TLS: smtptest.NoTLS, User: "ann@mail", Password: password},
		"a server that knows UTF-8":  {UTF8: true},
		"STARTTLS on the IPv6 loop":  {Addr: "[::1]:0", User: "ann@mail", Password: password},
		"smtps on the IPv6 loopback": {Addr: "[::1]:0", TLS: smtptest.ImplicitTLS},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Start(t, options)
			require.NoError(t, newSMTP(t, server).Send(t.Context(), hello()))
			messages := server.Messages()
			require.Len(t, messages, 1)
			got := checkForm(t, messages[0])
			assert.Equal(t, []string{"ann@example.com"}, messages[0].To)
			assert.Equal(t, "<ann@example.com>", got.header.Get("To"))
			assert.Equal(t, "Hello", got.subject)
			assert.Equal(t, "Hello Ann\n", got.text)
			assert.False(t, messages[0].UTF8, "relays without SMTPUTF8 would refuse the mail")
			if options.TLS != smtptest.NoTLS {
				assertSecret(t, server, nil)
				assert.NotContains(t, string(server.Wire()), "ann@example.com")
			}
		})
	}
}

// TestStartTLSIsRequired: a server that does not offer it, or somebody in between, must
// not get the password or the mail.
func TestStartTLSIsRequired(t *testing.T) {
	for name, user := range map[string]string{"login": "ann@mail", "no login": ""} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Start(t, smtptest.Options{TLS: smtptest.NoTLS, User: user, Password: password})
			sender := newSMTP(t, server, func(c *oauthmail.SMTPConfig) { c.URL = strings.TrimSuffix(c.URL, "?starttls=off") })
			err := sender.Send(t.Context(), hello())
			require.ErrorContains(t, err, "append ?starttls=off")
			assert.NotErrorIs(t, err, oauthmail.ErrRejected)
			assertSecret(t, server, err)
			assert.Empty(t, server.Messages())
			assert.NotContains(t, string(server.Wire()), "AUTH")
			assert.NotContains(t, string(server.Wire()), "ann@example.com")
		})
	}
}

func TestCertificateOfAnotherHostOrAuthorityIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		options   smtptest.Options
		untrusted bool
	}{
		"host, STARTTLS":      {options: smtptest.Options{WrongHost: true}},
		"host, smtps":         {options: smtptest.Options{WrongHost: true, TLS: smtptest.ImplicitTLS}},
		"authority, STARTTLS": {untrusted: true},
		"authority, smtps":    {options: smtptest.Options{TLS: smtptest.ImplicitTLS}, untrusted: true},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.User, test.options.Password = "ann@mail", password
			server := smtptest.Start(t, test.options)
			err := newSMTP(t, server, func(c *oauthmail.SMTPConfig) {
				if test.untrusted {
					c.TLS = nil
				}
			}).Send(t.Context(), hello())
			require.ErrorContains(t, err, "certificate")
			assertSecret(t, server, err)
			assert.Empty(t, server.Messages())
		})
	}
}

func TestWrongLoginIsTriedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		tls      smtptest.TLS
		url      func(string) string
		behavior smtptest.Behavior
		says     string
	}{
		"wrong password":               {smtptest.StartTLS, func(u string) string { return strings.Replace(u, "hunter2", "hunter2x", 1) }, smtptest.Accept, "refused the login with code 535"},
		"wrong password, smtps":        {smtptest.ImplicitTLS, func(u string) string { return strings.Replace(u, "hunter2", "hunter2x", 1) }, smtptest.Accept, "refused the login with code 535"},
		"no login":                     {smtptest.StartTLS, func(u string) string { return "smtp://" + u[strings.LastIndex(u, "@")+1:] }, smtptest.Accept, "530"},
		"server repeats the password":  {smtptest.StartTLS, func(u string) string { return u }, smtptest.RepeatLogin, "refused the login with code 535"},
		"repeats, without any TLS":     {smtptest.NoTLS, func(u string) string { return u }, smtptest.RepeatLogin, "refused the login with code 535"},
		"repeats, over implicit smtps": {smtptest.ImplicitTLS, func(u string) string { return u }, smtptest.RepeatLogin, "refused the login with code 535"},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Start(t, smtptest.Options{TLS: test.tls, User: "ann@mail", Password: password})
			server.Behave(test.behavior)
			err := newSMTP(t, server, func(c *oauthmail.SMTPConfig) { c.URL = test.url(c.URL) }).Send(t.Context(), hello())
			require.Error(t, err)
			assert.NotErrorIs(t, err, oauthmail.ErrRejected, "an operator can mend it")
			assert.ErrorContains(t, err, test.says)
			for _, secret := range []string{"hunter2", "ann@mail", base64.StdEncoding.EncodeToString([]byte("\x00ann@mail\x00" + password))} {
				assert.NotContains(t, err.Error(), secret)
			}
			assert.Empty(t, server.Messages())
		})
	}
}

// TestServerThatOffersNoLoginGetsNoMail: somebody has configured a login for a reason.
func TestServerThatOffersNoLoginGetsNoMail(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{})
	err := newSMTP(t, server, func(c *oauthmail.SMTPConfig) {
		c.URL = strings.Replace(c.URL, "smtp://", "smtp://ann:hunter2@", 1)
	}).Send(t.Context(), hello())
	require.ErrorContains(t, err, "AUTH")
	assert.NotContains(t, err.Error(), "hunter2")
	assert.Empty(t, server.Messages())
}

func TestOtherScriptsArriveUnchanged(t *testing.T) {
	for name, message := range map[string]oauthmail.Message{
		"German":     {Subject: "Ihr Paßwort für Bücher & Söhne", Text: "Schöne Grüße\n"},
		"long":       {Subject: strings.Repeat("Grüße und Küsse ", 20) + "Ende", Text: strings.Repeat("Schöne Grüße ", 100) + "\n"},
		"Chinese":    {Subject: "您的新密码", Text: "你好，安。\n"},
		"Arabic":     {Subject: "كلمة المرور الجديدة", Text: "مرحبا\n"},
		"emoji":      {Subject: "🔑 new", Text: "👋🏽 Ann\n"},
		"long ASCII": {Subject: strings.Repeat("word ", 60) + "end", Text: strings.Repeat("x", 3000) + "\n"},
		"dots":       {Subject: "..", Text: ".\n..\n.x\nFrom me\n"},
		"equals":     {Subject: "a=b", Text: "a=3D\n=\n=?x?=\n trailing \n\t\n"},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Start(t, smtptest.Options{})
			message.To = "ann@example.com"
			require.NoError(t, newSMTP(t, server).Send(t.Context(), message))
			messages := server.Messages()
			require.Len(t, messages, 1)
			got := checkForm(t, messages[0])
			assert.Equal(t, message.Subject, got.subject)
			assert.Equal(t, message.Text, got.text)
			for _, b := range messages[0].Data {
				require.Less(t, b, byte(0x80), "each server takes ASCII")
			}
		})
	}
}

// TestAddressesOfOtherScripts: a host name has an ASCII form that all servers know. The
// name before the @ has none, so the server must know SMTPUTF8.
func TestAddressesOfOtherScripts(t *testing.T) {
	for name, test := range map[string]struct {
		to, arrives string
		utf8        bool
	}{
		"host":   {"ann@bücher.example", "ann@xn--bcher-kva.example", false},
		"both":   {"jörg@bücher.example", "jörg@xn--bcher-kva.example", true},
		"quoted": {`"ann lee"@example.com`, "ann lee@example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Start(t, smtptest.Options{UTF8: true})
			message := hello()
			message.To = test.to
			require.NoError(t, newSMTP(t, server).Send(t.Context(), message))
			messages := server.Messages()
			require.Len(t, messages, 1)
			assert.Equal(t, []string{test.arrives}, messages[0].To)
			assert.Equal(t, test.utf8, messages[0].UTF8)
		})
	}
}

func TestServerThatRefusesOrFails(t *testing.T) {
	for name, test := range map[string]struct {
		behavior smtptest.Behavior
		rejected bool
		says     string
	}{
		"refuses the recipient": {smtptest.Refuse, true, `550 "5.1.1 <[hidden]> is unknown here"`},
		"refuses the message":   {smtptest.RefuseData, true, `554 "5.7.1 looks like spam"`},
		"refuses for now":       {smtptest.RefuseForNow, false, `451 "4.7.1 try [hidden] later"`},
		"drops in DATA":         {smtptest.DropInData, false, "mail: SMTP: "},
		"drops the reply":       {smtptest.DropReply, false, "mail: SMTP: "},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Start(t, smtptest.Options{})
			server.Behave(test.behavior)
			sender := newSMTP(t, server)
			err := sender.Send(t.Context(), hello())
			require.ErrorContains(t, err, test.says)
			assert.Equal(t, test.rejected, errors.Is(err, oauthmail.ErrRejected))
			assert.NotContains(t, err.Error(), "ann")
			server.Behave(smtptest.Accept)
			assert.NoError(t, sender.Send(t.Context(), hello()), "the Sender works on")
		})
	}
}

// TestCodeOfARefusalSaysWhetherItIsFinal: replies from 500 on are, but those that ask for another
// login (RFC 4954 section 6).
func TestCodeOfARefusalSaysWhetherItIsFinal(t *testing.T) {
	var code int
	server := smtptest.Start(t, smtptest.Options{Received: func(smtptest.Message) error {
		return &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode, Message: "no"}
	}})
	sender := newSMTP(t, server)
	for _, final := range []bool{false, true} {
		for _, code = range map[bool][]int{false: {450, 452, 499, 530, 534, 535, 538}, true: {500, 529, 531, 533, 536, 537, 539, 554, 599}}[final] {
			err := sender.Send(t.Context(), hello())
			require.ErrorContains(t, err, strconv.Itoa(code))
			assert.Equal(t, final, errors.Is(err, oauthmail.ErrRejected), "%d", code)
		}
	}
}

// TestMessageIsSentOnceTheServerHasAnswered: what happens at QUIT must not send it again.
func TestMessageIsSentOnceTheServerHasAnswered(t *testing.T) {
	for _, kind := range []smtptest.TLS{smtptest.StartTLS, smtptest.ImplicitTLS, smtptest.NoTLS} {
		server := smtptest.Start(t, smtptest.Options{TLS: kind})
		server.Behave(smtptest.DropAfterReply)
		require.NoError(t, newSMTP(t, server).Send(t.Context(), hello()))
		assert.Len(t, server.Messages(), 1)
	}
}

// TestNoConnectionStaysOpen, neither after a delivery nor after an error at any point.
func TestNoConnectionStaysOpen(t *testing.T) {
	for name, test := range map[string]struct {
		options  smtptest.Options
		behavior smtptest.Behavior
		url      func(string) string
	}{
		"sent":          {},
		"refused":       {behavior: smtptest.Refuse},
		"no STARTTLS":   {options: smtptest.Options{TLS: smtptest.NoTLS}, url: func(u string) string { return strings.TrimSuffix(u, "?starttls=off") }},
		"no login":      {url: func(u string) string { return strings.Replace(u, "://", "://ann:hunter2@", 1) }},
		"wrong login":   {options: smtptest.Options{User: "ann", Password: "hunter2"}, behavior: smtptest.RepeatLogin},
		"wrong host":    {options: smtptest.Options{WrongHost: true}},
		"smtps to smtp": {options: smtptest.Options{TLS: smtptest.NoTLS}, url: func(u string) string { return "smtps" + strings.TrimSuffix(u, "?starttls=off")[len("smtp"):] }},
	} {
		t.Run(name, func(t *testing.T) {
			server := smtptest.Start(t, test.options)
			server.Behave(test.behavior)
			err := newSMTP(t, server, func(c *oauthmail.SMTPConfig) {
				if test.url != nil {
					c.URL = test.url(c.URL)
				}
			}).Send(t.Context(), hello())
			assert.Equal(t, name == "sent", err == nil, "%v", err)
			assert.Equal(t, 1, server.Connections())
			assert.Eventually(t, func() bool { return server.Open() == 0 }, 30*time.Second, time.Millisecond)
		})
	}
}

func TestServerThatIsDown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	for _, scheme := range []string{"smtp", "smtps"} {
		sender, err := oauthmail.NewSMTP(oauthmail.SMTPConfig{URL: scheme + "://ann:hunter2@" + address, From: from})
		require.NoError(t, err)
		err = sender.Send(t.Context(), hello())
		require.ErrorContains(t, err, "refused")
		assert.NotErrorIs(t, err, oauthmail.ErrRejected)
		assert.NotContains(t, err.Error(), "hunter2")
	}
}

// TestSlowServerIsLeftInTime: after the Timeout, or when the context ends.
func TestSlowServerIsLeftInTime(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	require.NoError(t, err)
	defer silent.Close()
	slow := smtptest.Start(t, smtptest.Options{})
	slow.Behave(smtptest.Slow)
	for name, url := range map[string]string{
		"slow answer": slow.URL(), "no greeting": "smtp://" + silent.Addr().String(), "no handshake": "smtps://" + silent.Addr().String(),
	} {
		t.Run(name, func(t *testing.T) {
			timeout := newSMTP(t, slow, func(c *oauthmail.SMTPConfig) { c.URL, c.Timeout = url, 50*time.Millisecond })
			err := timeout.Send(t.Context(), hello())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.NotErrorIs(t, err, oauthmail.ErrRejected)

			patient := newSMTP(t, slow, func(c *oauthmail.SMTPConfig) { c.URL, c.Timeout = url, time.Hour })
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			err = patient.Send(ctx, hello())
			require.ErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, patient.Send(ctx, hello()), context.Canceled, "a context that has ended already")
		})
	}
	assert.Empty(t, slow.Messages())
}

func TestManySendAtOnce(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{User: "ann@mail", Password: password})
	sender := newSMTP(t, server)
	var senders sync.WaitGroup
	for range 20 {
		senders.Go(func() { assert.NoError(t, sender.Send(t.Context(), hello())) })
	}
	senders.Wait()
	messages := server.Messages()
	require.Len(t, messages, 20)
	ids := make(map[string]bool)
	for _, message := range messages {
		ids[read(t, message).header.Get("Message-Id")] = true
	}
	assert.Len(t, ids, 20)
	assert.Equal(t, 20, server.Connections())
}
