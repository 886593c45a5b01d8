package mail_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
)

// TestValuesOfRequestsAreCleaned shows a user agent in a mail.
func TestValuesOfRequestsAreCleaned(t *testing.T) {
	for name, test := range map[string]struct{ value, shows string }{
		"browser":          {"Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.0.0", "Mozilla/5.0 (X11; Linux x86_64) Chrome/120.0.0.0"},
		"other scripts":    {"Обозреватель 浏览器 مستعرض é", "Обозреватель 浏览器 مستعرض é"},
		"line breaks":      {"a\r\nBcc: b\n\nc\u2028d\u2029e\u0085f\vg\fh", "a Bcc: b c d e f g h"},
		"tabs and spaces":  {"  a\t\tb \u00a0\u3000 c  ", "a b c"},
		"control":          {"a\x00b\x1b[31mc\x7fd", "ab[31mcd"},
		"bidi":             {"a\u202eb\u2066c\u200fd\u061ce", "abcde"},
		"zero width":       {"a\u200bb\u200cc\u200dd\ufefff\u2060g\u00adh", "abcdfgh"},
		"fillers":          {"a\u3164b\u115fc\uffa0d\u2800e\u034ff\ufe0fg\U000e0041h", "abcdefgh"},
		"broken UTF-8":     {"a\xffb\xc3", "ab"},
		"private":          {"a\ue000b\U0010ffffc", "abc"},
		"web address":      {"Visit https://evil.example/x now", "Visit https[:]//evil[.]example/x now"},
		"bare host":        {"go to evil.example", "go to evil[.]example"},
		"www":              {"www.evil.example", "www[.]evil[.]example"},
		"unicode host":     {"зло.рф", "зло[.]рф"},
		"other dots":       {"evil。com evil．com evil｡com", "evil[.]com evil[.]com evil[.]com"},
		"hidden dot":       {"evil\u200b.\u200bcom", "evil[.]com"},
		"numeric address":  {"http://203.0.113.7/x", "http[:]//203.0.113.7/x"},
		"mail address":     {"write to a@evil.example", "write to a@evil[.]example"},
		"encoded word":     {"=?utf-8?q?a=0ABcc?=", "= ?utf-8?q?a=0ABcc?="},
		"template actions": {"{{.Code}}", "{{[.]Code}}"},
		"dot at the end":   {"evil.", "evil."},
		"dot at the start": {".evil", "[.]evil"},
		"after a letter":   {"v.5 and 5.x", "v.5 and 5[.]x"},
		"too long":         {strings.Repeat("ä", 101), strings.Repeat("ä", 99) + "…"},
		"just fits":        {strings.Repeat("ä", 100), strings.Repeat("ä", 100)},
		"far too long":     {strings.Repeat("x", 1<<20), strings.Repeat("x", 99) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			m := sample(store.MailPasswordReset)
			m.UserAgent = test.value
			message, err := build(t, mail.Config{}, m)
			require.NoError(t, err)
			assert.Contains(t, message.Text, "\nWhich calls itself: "+test.shows+"\n")
		})
	}
}

// TestNameIsNoLinkInMailToStrangers: whoever asks for an account picks its name, and the
// address that the mail goes to.
func TestNameIsNoLinkInMailToStrangers(t *testing.T) {
	for _, kind := range store.MailKinds() {
		m := sample(kind)
		m.Account = "evil.example"
		message, err := build(t, mail.Config{}, m)
		require.NoError(t, err)
		toStranger := kind == store.MailRegistration || kind == store.MailEmailChange
		assert.Equal(t, !toStranger, strings.Contains(message.Text, "evil.example"), kind)
		assert.Equal(t, toStranger, strings.Contains(message.Text, "evil[.]example"), kind)
	}
}

// TestLogsHideWhateverMayBeASecret: a code of 4 characters is hidden, wherever a Sender repeats it. A
// shorter one would tear words apart, and so show what it is.
func TestLogsHideWhateverMayBeASecret(t *testing.T) {
	for code, shows := range map[string]string{"7Q2X": "no [hidden], no[hidden]no", "7Q2": "no 7Q2, no7Q2no"} {
		log := new(logged)
		sender := &memory{answer: func(context.Context, mail.Message) error {
			return fmt.Errorf("%w: no %s, no%sno", mail.ErrRejected, code, code)
		}}
		queue, err := mail.NewQueue(mail.Config{Sender: sender, Logger: log.logger()})
		require.NoError(t, err)
		m := sample(store.MailPasswordReset)
		m.Code = code
		require.NoError(t, queue.Enqueue(ready(m)))
		closeQueue(t, queue)
		assert.EqualError(t, log.find("mail_failed"), "mail: rejected: "+shows)
	}
}

// everyField is a template that shows all values, also in the subject.
const everyField = "Subject: {{.Account}}|{{.NewEmail}}|{{.Address}}|{{.ClientID}}|{{.UserAgent}}\n\n" +
	"{{.Account}}|\n{{.NewEmail}}|\n{{.Address}}|\n{{.ClientID}}|\n{{.UserAgent}}|\n{{.Time}}\n{{.Code}}\n{{.Expires}}"

// FuzzMessage: whatever the values are, they add no line and nothing that cannot be seen,
// and values of strangers hold no link.
func FuzzMessage(f *testing.F) {
	f.Add("ann", "a@example.com", "192.0.2.1", "web", "Mozilla/5.0")
	custom := map[string]string{}
	for _, kind := range store.MailKinds() {
		custom[string(kind)+".txt"] = everyField
	}
	builder := newBuilder(f, mail.Config{Templates: files(custom)})
	f.Fuzz(func(t *testing.T, account, newEmail, address, clientID, userAgent string) {
		for _, kind := range store.MailKinds() {
			m := sample(kind)
			account = strings.ReplaceAll(account, "|", "") // the subject is taken apart at these
			plain, err := builder.build(t, m)
			require.NoError(t, err)
			m.Account, m.NewEmail, m.Address, m.ClientID, m.UserAgent = account, newEmail, address, clientID, userAgent
			message, err := builder.build(t, m)
			require.NoError(t, err)

			require.Equal(t, strings.Count(plain.Text, "\n"), strings.Count(message.Text, "\n"))
			require.Equal(t, m.To, message.To)
			for _, text := range []string{message.Subject, strings.ReplaceAll(message.Text, "\n", "")} {
				require.True(t, utf8.ValidString(text))
				for _, r := range text {
					require.True(t, unicode.IsGraphic(r) && !unicode.Is(unicode.Cf, r) && (r == ' ' || !unicode.IsSpace(r)), "%U", r)
				}
			}
			require.NotContains(t, message.Text, "://")
			values := strings.Split(message.Subject, "|")
			if kind != store.MailRegistration && kind != store.MailEmailChange {
				values = values[1:] // the account is the owner's
			}
			for _, value := range values {
				runes := []rune(value)
				require.LessOrEqual(t, len(runes), 5*100)
				for i := range len(runes) - 1 {
					require.False(t, strings.ContainsRune(".。．｡", runes[i]) && unicode.IsLetter(runes[i+1]), "%q is a host", value)
				}
			}
		}
	})
}
