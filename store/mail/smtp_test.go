package mail_test

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store/mail"
)

// TestSMTPConfigurationErrorsHoldNoPassword: whatever is wrong, "hunter2" does not show.
// Package smtptest tests the rest of SMTP with a server.
func TestSMTPConfigurationErrorsHoldNoPassword(t *testing.T) {
	for name, test := range map[string]struct{ url, says string }{
		"empty":              {"", "URL is required"},
		"unreadable":         {"smtp://user:hun%zzter2hunter2@host", "URL cannot be read"},
		"control character":  {"smtp://user:hunter2\x7f@host", "URL cannot be read"},
		"slash in password":  {"smtp://user:1/hunter2@host", "%2F"},
		"slash, not a port":  {"smtp://user:hunter2/x@host", "URL cannot be read"},
		"hash in password":   {"smtp://user:1#hunter2@host", "%23"},
		"query in password":  {"smtp://user:1?hunter2@host", "%3F"},
		"no scheme":          {"user:hunter2@host:587", "smtp:// or smtps://"},
		"scheme is password": {"hunter2://host", "smtp:// or smtps://"},
		"http":               {"http://user:hunter2@host", "smtp:// or smtps://"},
		"no host":            {"smtp://user:hunter2@", "must name a host"},
		"port 0":             {"smtp://user:hunter2@host:0", "port"},
		"port too large":     {"smtp://user:hunter2@host:65536", "port"},
		"no password":        {"smtp://hunter2@host", "both a user and a password"},
		"no user":            {"smtp://:hunter2@host", "both a user and a password"},
		"line break":         {"smtp://user:hunter2%0d%0a@host", "control characters"},
		"path":               {"smtp://user:hunter2@host/path", "must end after the host"},
		"unknown query":      {"smtp://user:hunter2@host?tls=no", "?starttls=off"},
		"unknown value":      {"smtp://user:hunter2@host?starttls=maybe", "?starttls=off"},
		"given twice":        {"smtp://user:hunter2@host?starttls=off&starttls=on", "?starttls=off"},
		"another one too":    {"smtp://user:hunter2@host?starttls=off&tls=no", "?starttls=off"},
		"starttls of smtps":  {"smtps://user:hunter2@host?starttls=off", "?starttls=off"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mail.NewSMTP(mail.SMTPConfig{URL: test.url, From: "a@example.com"})
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestSMTPConfigurationNamesEachWrongField(t *testing.T) {
	for _, from := range []string{"", "nobody", "a@example.com, b@example.com", "a@example.com\r\nBcc: b@example.com", "<a@exa mple.com>", "a@", "\"Ann\tLee\" <a@example.com>"} {
		_, err := mail.NewSMTP(mail.SMTPConfig{URL: "ftp://", From: from, Timeout: -time.Second})
		require.Error(t, err, from)
		for _, field := range []string{"smtp://", "From", "Timeout"} {
			assert.Contains(t, err.Error(), field)
		}
	}
}

func TestPrintedSMTPHidesThePassword(t *testing.T) {
	sender, err := mail.NewSMTP(mail.SMTPConfig{URL: "SMTPS://user:hunter2@[::1]", From: "Ann <a@example.com>"})
	require.NoError(t, err)
	assert.Equal(t, "smtps://[::1]:465", sender.String())
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		assert.NotContains(t, fmt.Sprintf(format, sender), "hunter2", format)
	}
	sender, err = mail.NewSMTP(mail.SMTPConfig{URL: "smtp://example.com/?starttls=off", From: "a@example.com"})
	require.NoError(t, err)
	assert.Equal(t, "smtp://example.com:587", sender.String())
}

// TestTLSConfigIsNotChanged: it may be that of several servers.
func TestTLSConfigIsNotChanged(t *testing.T) {
	shared := &tls.Config{MinVersion: tls.VersionTLS13}
	_, err := mail.NewSMTP(mail.SMTPConfig{URL: "smtp://example.com", From: "a@example.com", TLS: shared})
	require.NoError(t, err)
	assert.Empty(t, shared.ServerName)
}

func TestEveryPortIsTaken(t *testing.T) {
	for _, port := range []string{"1", "65535"} {
		sender, err := mail.NewSMTP(mail.SMTPConfig{URL: "smtp://example.com:" + port, From: "a@example.com"})
		require.NoError(t, err)
		assert.Equal(t, "smtp://example.com:"+port, sender.String())
	}
}
