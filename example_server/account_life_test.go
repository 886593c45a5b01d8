package main

import (
	"bytes"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Script .ci/accounts plays the life of accounts. These tests are about what it cannot show
// in a few seconds.

// TestRefusesMailSettings in one sentence that names the flag or the variable, and repeats
// nothing of the URL. Each part of a URL holds "hunter".
func TestRefusesMailSettings(t *testing.T) {
	const smtp = "OAUTHSV_SMTP_URL=smtp://hunter1:hunter2@127.0.0.1:1"
	for name, test := range map[string]struct {
		environment string
		arguments   []string
		says        string
	}{
		"slash in the password":        {"OAUTHSV_SMTP_URL=smtp://hunter1:hunter2/x@hunter.example:25", nil, "OAUTHSV_SMTP_URL"},
		"not SMTP":                     {"OAUTHSV_SMTP_URL=http://hunter1:hunter2@hunter.example", nil, "smtp:// or smtps://"},
		"password without user":        {"OAUTHSV_SMTP_URL=smtp://:hunter2@hunter.example", nil, "both a user and a password"},
		"sender":                       {smtp, []string{"-mail-from", "nobody"}, "-mail-from"},
		"default sender":               {smtp, []string{"-root-email", "nobody"}, "-root-email"},
		"two ways":                     {smtp, []string{"-mail-to-log"}, "-mail-to-log"},
		"neither on nor off":           {smtp, []string{"-registration", "maybe"}, "-registration"},
		"sender without server":        {"OAUTHSV_SMTP_URI=smtp://hunter.example", []string{"-mail-from", "a@example.com"}, "needs OAUTHSV_SMTP_URL"},
		"registration without mail":    {"OAUTHSV_SMTP_URI=smtp://hunter.example", []string{"-registration", "on"}, "OAUTHSV_SMTP_URL"},
		"a host too long for the text": {smtp, []string{"-issuer", "http://" + strings.Repeat("a.", 60) + "example"}, "-issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			arguments := append([]string{"-addr", "127.0.0.1:0", "-store", "memory:"}, test.arguments...)
			command := command(t.TempDir(), []string{test.environment}, arguments...)
			var stdout, stderr bytes.Buffer
			command.Stdout, command.Stderr = &stdout, &stderr
			require.Error(t, command.Run())
			assert.Equal(t, 1, command.ProcessState.ExitCode())
			assert.Empty(t, stdout.String())
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			last := lines[len(lines)-1]
			assert.True(t, strings.HasPrefix(last, "example_server: "), last)
			assert.Contains(t, last, test.says)
			assert.NotContains(t, stderr.String(), "hunter")
		})
	}
}

// TestWarnsOfSenderThatNobodyCanAnswer: the default is for a server on the same machine.
func TestWarnsOfSenderThatNobodyCanAnswer(t *testing.T) {
	const warning = "no other server can answer"
	run := func(relay string, arguments ...string) *process {
		arguments = append([]string{"-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1", "-store", "memory:"}, arguments...)
		return startCommand(t, command(t.TempDir(), []string{"OAUTHSV_SMTP_URL=" + relay}, arguments...))
	}
	run("smtp://ann:hunter2@mail.example.com").assertLogs(warning)
	assert.NotContains(t, run("smtp://ann:hunter2@mail.example.com", "-mail-from", "a@example.com").stderr.String(), warning)
	assert.NotContains(t, run("smtp://[::1]:25?starttls=off").stderr.String(), warning)
}

// TestMailServerIsDown: logins work, and whoever ends the server learns what it waits for.
func TestMailServerIsDown(t *testing.T) {
	p := startCommand(t, command(t.TempDir(), []string{"OAUTHSV_SMTP_URL=smtp://ann:hunter2@127.0.0.1:1?starttls=off"},
		"-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1", "-store", "memory:"))
	p.token(url.Values{"grant_type": {"password"}, "username": {"root"}, "password": {rootPassword}})
	logged := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), text) }, time.Minute, 10*time.Millisecond, p.stderr)
	}
	logged("msg=mail_retried")
	require.NoError(t, p.command.Process.Signal(syscall.SIGTERM))
	logged(`msg="waiting for mails that are not sent yet" count=1`)
	assert.NotContains(t, p.stderr.String(), "hunter2")
}
