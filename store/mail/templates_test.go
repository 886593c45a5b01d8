package mail_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
)

const code = "K7QX-29PM-4TWD"

// sample returns a mail that tells all that its kind can tell.
func sample(kind store.MailKind) *store.Mail {
	m := &store.Mail{
		Kind: kind, To: "ann@example.com", Account: "ann.lee",
		Time:    time.Date(2026, 11, 24, 15, 5, 9, 0, time.FixedZone("CET", 3600)),
		Address: "203.0.113.7", ClientID: "web", UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/120.0",
	}
	switch kind {
	case store.MailRegistration, store.MailPasswordReset, store.MailEmailChange:
		m.Code, m.Expires = code, m.Time.Add(time.Hour)
	}
	if kind == store.MailEmailChange || kind == store.MailEmailChanged {
		m.NewEmail = "ann@new.example"
	}
	return m
}

// TestEveryKindTellsWhatHappened: when, from where, with what, the code on its own line,
// and what to do if it was somebody else.
func TestEveryKindTellsWhatHappened(t *testing.T) {
	for _, kind := range store.MailKinds() {
		t.Run(string(kind), func(t *testing.T) {
			m := sample(kind)
			message, err := build(t, mail.Config{Service: "Example"}, m)
			require.NoError(t, err)
			assert.Equal(t, "ann@example.com", message.To)
			assert.Contains(t, message.Subject, "Example")
			assert.NotContains(t, message.Subject, "\n")
			for _, want := range []string{"24 November 2026, 14:05 UTC", m.Address, m.ClientID, m.UserAgent, "Example", "If it was not you"} {
				assert.Contains(t, message.Text, want)
			}
			lines := strings.Split(message.Text, "\n")
			if m.Code == "" {
				assert.NotContains(t, message.Text, "{{")
			} else {
				assert.Contains(t, lines, code)
				assert.Contains(t, message.Text, "24 November 2026, 15:05 UTC")
				assert.Contains(t, message.Text, "Never pass it on")
			}
			assert.NotContains(t, message.Text, "\r")
			assert.NotContains(t, message.Text, "\n\n\n")
		})
	}
}

func TestMailThatKnowsLittleHasNoEmptyFields(t *testing.T) {
	for _, kind := range store.MailKinds() {
		m := sample(kind)
		m.Address, m.ClientID, m.UserAgent, m.NewEmail = "", "", "", ""
		message, err := build(t, mail.Config{}, m)
		require.NoError(t, err)
		assert.Contains(t, message.Subject, "this service")
		for line := range strings.SplitSeq(message.Text, "\n") {
			if strings.HasSuffix(line, ":") {
				assert.Contains(t, line, "enter this code", "%s: a label without a value", kind)
			}
		}
	}
}

func TestAddressInUseNamesTheAccountAndTheWayBack(t *testing.T) {
	message, err := build(t, mail.Config{Service: "Example"}, sample(store.MailAddressInUse))
	require.NoError(t, err)
	assert.Contains(t, message.Text, "Name of your account: ann.lee\n")
	assert.Contains(t, message.Text, "ask for a password reset")
}

func TestEmailChangedNamesTheNewAddress(t *testing.T) {
	message, err := build(t, mail.Config{Service: "Example"}, sample(store.MailEmailChanged))
	require.NoError(t, err)
	assert.Contains(t, message.Text, "New e-mail address: ann@new[.]example\n")
}

func TestMailWithWrongCodeOrKindIsNotSent(t *testing.T) {
	for name, change := range map[string]func(*store.Mail){
		"no code":      func(m *store.Mail) { m.Code = "" },
		"small":        func(m *store.Mail) { m.Code = "abcd-hunter2" },
		"two lines":    func(m *store.Mail) { m.Code = "ABCD\nHUNTER2" },
		"unknown kind": func(m *store.Mail) { m.Kind = "birthday" },
		"no kind":      func(m *store.Mail) { m.Kind = "" },
	} {
		t.Run(name, func(t *testing.T) {
			m := sample(store.MailPasswordReset)
			change(m)
			_, err := build(t, mail.Config{}, m)
			require.Error(t, err)
			assert.NotContains(t, strings.ToLower(err.Error()), "hunter2")
		})
	}
}

func TestTemplatesOfTheUserReplaceSome(t *testing.T) {
	config := mail.Config{Service: "Beispiel", Templates: fstest.MapFS{
		"password_reset.txt": {Data: []byte("\ufeffSubject: \tNeues  Paßwort\tfür {{.Service}}\r\n\r\nHallo {{.Account}},\r\n{{.Code}}\r\n{{template \"origin.txt\" .}}\r\n")},
		"origin.txt":         {Data: []byte("Zeit: {{.Time}}")},
		"README.md":          {Data: []byte("not a template")},
	}}
	message, err := build(t, config, sample(store.MailPasswordReset))
	require.NoError(t, err)
	assert.Equal(t, mail.Message{
		To: "ann@example.com", Subject: "Neues Paßwort für Beispiel",
		Text: "Hallo ann.lee,\n" + code + "\nZeit: 24 November 2026, 14:05 UTC\n",
	}, message)
	message, err = build(t, config, sample(store.MailNewLogin))
	require.NoError(t, err)
	assert.Equal(t, "New login at Beispiel", message.Subject)
	assert.Contains(t, message.Text, "\nZeit: 24 November")
}

func TestBrokenTemplatesFailAtStartAndAreNamed(t *testing.T) {
	for name, test := range map[string]struct{ file, text, says string }{
		"syntax":         {"new_login.txt", "Subject: x\n\n{{.Account", "new_login.txt:3"},
		"unknown field":  {"new_login.txt", "Subject: x\n\n{{.Nmae}}", "new_login.txt:3"},
		"field if set":   {"new_login.txt", "Subject: x\n\nx{{if .UserAgent}}{{.Nmae}}{{end}}", "new_login.txt:3"},
		"field not set":  {"new_login.txt", "Subject: x\n\n{{slice .UserAgent 0 1}}", "new_login.txt:3"},
		"no subject":     {"new_login.txt", "Hello\n\nyou", "template new_login.txt: the first line must be"},
		"empty subject":  {"new_login.txt", "Subject: \n\nyou", "template new_login.txt: the first line must be"},
		"no blank line":  {"new_login.txt", "Subject: x\nyou", "template new_login.txt: a blank line"},
		"no text":        {"new_login.txt", "Subject: x\n\n", "template new_login.txt: a blank line"},
		"no code":        {"registration.txt", "Subject: x\n\nHello", "template registration.txt: {{.Code}} must stand on a line of its own"},
		"code in a line": {"registration.txt", "Subject: x\n\nYour code is {{.Code}}", "template registration.txt: {{.Code}} must stand on a line of its own"},
		"misspelled":     {"new-login.txt", "Subject: x\n\nHello", "template new-login.txt: there is no such kind"},
		"broken part":    {"origin.txt", "{{", "origin.txt:1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := mail.NewQueue(mail.Config{Sender: new(memory), Templates: fstest.MapFS{test.file: {Data: []byte(test.text)}}})
			require.Error(t, err)
			assert.Contains(t, err.Error(), test.says)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestUnreadableTemplatesFailAtStart(t *testing.T) {
	directory := t.TempDir()
	require.NoError(t, os.Mkdir(directory+"/new_login.txt", 0o700))
	_, err := mail.NewQueue(mail.Config{Sender: new(memory), Templates: os.DirFS(directory)})
	require.Error(t, err)
	assert.Contains(t, err.Error(), "new_login.txt")
}

// build returns the message that the queue makes of a mail, or the error that it logs.
func build(t testing.TB, config mail.Config, m *store.Mail) (mail.Message, error) {
	t.Helper()
	return newBuilder(t, config).build(t, m)
}

// builder makes messages with one queue.
type builder struct {
	queue  *mail.Queue
	sender *memory
	log    *logged
}

func newBuilder(t testing.TB, config mail.Config) *builder {
	t.Helper()
	b := &builder{sender: new(memory), log: new(logged)}
	config.Sender, config.Workers, config.Logger = b.sender, 1, b.log.logger()
	var err error
	b.queue, err = mail.NewQueue(config)
	require.NoError(t, err)
	t.Cleanup(func() { closeQueue(t, b.queue) })
	return b
}

func (b *builder) build(t testing.TB, m *store.Mail) (mail.Message, error) {
	t.Helper()
	require.NoError(t, b.queue.Enqueue(ready(m)))
	done := make(chan struct{})
	require.NoError(t, b.queue.Enqueue(func(context.Context) (*store.Mail, error) { close(done); return nil, nil }))
	<-done // the one worker has done with the mail
	defer b.log.reset()
	if failure := b.log.find("mail_failed"); failure != nil {
		return mail.Message{}, failure
	}
	messages := b.sender.take()
	require.Len(t, messages, 1)
	return messages[0], nil
}
