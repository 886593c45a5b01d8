package smtptest_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oauthsv/oauthsv/store"
	oauthmail "github.com/oauthsv/oauthsv/store/mail"
	"github.com/oauthsv/oauthsv/store/mail/smtptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	password = "hunter2 & Käse/#?%"
	code     = "K7QX-29PM-4TWD"
	from     = "Bücher <no-reply@example.com>"
)

func newSMTP(t testing.TB, server *smtptest.Server, changes ...func(*oauthmail.SMTPConfig)) *oauthmail.SMTP {
	t.Helper()
	config := oauthmail.SMTPConfig{URL: server.URL(), From: from, TLS: server.ClientTLS()}
	for _, change := range changes {
		change(&config)
	}
	sender, err := oauthmail.NewSMTP(config)
	require.NoError(t, err)
	return sender
}

func hello() oauthmail.Message {
	return oauthmail.Message{To: "ann@example.com", Subject: "Hello", Text: "Hello Ann\n"}
}

// received is a message as a mail program reads it.
type received struct {
	header  mail.Header
	subject string
	text    string
}

func read(t testing.TB, message smtptest.Message) received {
	t.Helper()
	parsed, err := mail.ReadMessage(bytes.NewReader(message.Data))
	require.NoError(t, err)
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	require.NoError(t, err)
	text, err := io.ReadAll(quotedprintable.NewReader(parsed.Body))
	require.NoError(t, err)
	return received{parsed.Header, subject, strings.ReplaceAll(string(text), "\r\n", "\n")}
}

// headers are all that a message has.
var headers = []string{
	"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To",
}

// checkForm checks what all messages have in common.
func checkForm(t testing.TB, message smtptest.Message) received {
	t.Helper()
	got := read(t, message)
	names := make([]string, 0, len(got.header))
	for name, values := range got.header {
		names = append(names, name)
		assert.Len(t, values, 1, name)
	}
	assert.ElementsMatch(t, headers, names)
	assert.Equal(t, "auto-generated", got.header.Get("Auto-Submitted"))
	assert.Equal(t, "text/plain; charset=UTF-8", got.header.Get("Content-Type"))
	assert.Equal(t, "quoted-printable", got.header.Get("Content-Transfer-Encoding"))
	assert.Regexp(t, `^<[A-Z0-9]+@example\.com>$`, got.header.Get("Message-Id"))
	date, err := got.header.Date()
	assert.NoError(t, err)
	assert.Less(t, time.Since(date).Abs(), time.Hour)
	sender, err := got.header.AddressList("From")
	assert.NoError(t, err)
	assert.Equal(t, []*mail.Address{{Name: "Bücher", Address: "no-reply@example.com"}}, sender)
	assert.Equal(t, "no-reply@example.com", message.From)
	for line := range bytes.Lines(message.Data) {
		assert.LessOrEqual(t, len(line), 100, "%s", line)
	}
	return got
}

func sample(kind store.MailKind) *store.Mail {
	now := time.Now()
	m := &store.Mail{
		Kind: kind, To: "ann@example.com", Account: "ann", Time: now, NewEmail: "new@example.com",
		Address: "203.0.113.7", ClientID: "web", UserAgent: "Firefox/120.0",
	}
	switch kind {
	case store.MailRegistration, store.MailPasswordReset, store.MailEmailChange:
		m.Code, m.Expires = code, now.Add(time.Hour)
	}
	return m
}

func ready(m *store.Mail) func(context.Context) (*store.Mail, error) {
	return func(context.Context) (*store.Mail, error) { return m, nil }
}

// newQueue tries again at once.
func newQueue(t testing.TB, sender oauthmail.Sender, log io.Writer) *oauthmail.Queue {
	t.Helper()
	queue, err := oauthmail.NewQueue(oauthmail.Config{
		Sender: sender, Service: "Example", FirstWait: time.Millisecond, MaxWait: 10 * time.Millisecond,
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	return queue
}
