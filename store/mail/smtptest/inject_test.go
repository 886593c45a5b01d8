package smtptest_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	oauthmail "github.com/oauthsv/oauthsv/store/mail"
	"github.com/oauthsv/oauthsv/store/mail/smtptest"
)

// attacks are values that end a line, a header or the message, if anything lets them.
var attacks = []string{
	"x\r\nBcc: thief@example.com",
	"x\nBcc: thief@example.com\n\nBuy now",
	"x\rBcc: thief@example.com",
	"x\r\n.\r\nMAIL FROM:<thief@example.com>\r\nRCPT TO:<thief@example.com>\r\nDATA\r\nBuy now\r\n.\r\n",
	"x\n.\nMAIL FROM:<thief@example.com>\n",
	"x\u2028Bcc: thief@example.com\u2029\u0085",
	"=?utf-8?q?x=0D=0ABcc:_thief@example.com?=",
	"x\x00\x1b[2J\u202e",
	"{{.Code}}{{template \"origin.txt\" .}}",
	"Visit https://evil.example now",
}

// TestValuesOfRequestsInjectNothing sends each attack in each field of each kind, through
// a real server.
func TestValuesOfRequestsInjectNothing(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{TLS: smtptest.NoTLS})
	queue := newQueue(t, newSMTP(t, server), io.Discard)
	fields := map[string]func(*store.Mail) *string{
		"Account":   func(m *store.Mail) *string { return &m.Account },
		"NewEmail":  func(m *store.Mail) *string { return &m.NewEmail },
		"Address":   func(m *store.Mail) *string { return &m.Address },
		"ClientID":  func(m *store.Mail) *string { return &m.ClientID },
		"UserAgent": func(m *store.Mail) *string { return &m.UserAgent },
	}
	lines := make(map[string]int) // of a harmless mail, by subject
	for _, kind := range store.MailKinds() {
		require.NoError(t, queue.Enqueue(ready(sample(kind))))
	}
	harmless, err := server.Wait(t.Context(), len(store.MailKinds()))
	require.NoError(t, err)
	for _, message := range harmless {
		got := read(t, message)
		lines[got.subject] = strings.Count(got.text, "\n")
	}
	require.Len(t, lines, len(store.MailKinds()))

	for _, kind := range store.MailKinds() {
		for _, field := range fields {
			for _, attack := range attacks {
				m := sample(kind)
				*field(m) = attack
				require.NoError(t, queue.Enqueue(ready(m)))
			}
		}
	}
	require.NoError(t, queue.Close(t.Context()))
	messages := server.Messages()[len(harmless):]
	require.Len(t, messages, len(store.MailKinds())*len(fields)*len(attacks))
	for _, message := range messages {
		got := checkForm(t, message)
		assert.Equal(t, []string{"ann@example.com"}, message.To)
		assert.Contains(t, lines, got.subject, "no value reaches the subject of the default texts")
		assert.Equal(t, lines[got.subject], strings.Count(got.text, "\n"), got.text)
		assert.NotContains(t, got.text, "://")
	}
}

// TestMessagesInjectNothing: a caller of Send may have its own templates.
func TestMessagesInjectNothing(t *testing.T) {
	server := smtptest.Start(t, smtptest.Options{TLS: smtptest.NoTLS})
	sender := newSMTP(t, server)
	for _, attack := range attacks[:5] {
		message := hello()
		message.Subject = attack
		assert.ErrorIs(t, sender.Send(t.Context(), message), oauthmail.ErrRejected)

		message = hello()
		message.Text = attack
		require.NoError(t, sender.Send(t.Context(), message))
	}
	for _, to := range append([]string{
		"", "ann", "ann@", "@example.com", "ann@example.com, thief@example.com", "Ann <ann@example.com>", "<ann@example.com>",
		"ann@example.com\r\nBcc: thief@example.com", "ann@example.com> NOTIFY=NEVER <x@example.com", "group: ann@example.com;",
		"\"ann\r\nBcc: x\"@example.com", "ann@exa mple.com", "ann@-.example",
	}, attacks...) {
		message := hello()
		message.To = to
		err := sender.Send(t.Context(), message)
		require.ErrorIs(t, err, oauthmail.ErrRejected, to)
		assert.NotContains(t, err.Error(), "example")
	}
	messages := server.Messages()
	require.Len(t, messages, 5, "each text is one message")
	for _, message := range messages {
		checkForm(t, message)
		assert.Equal(t, []string{"ann@example.com"}, message.To)
	}
}
