package mail

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// Message is one mail, ready to be sent. The Sender knows whom it comes from.
type Message struct {
	// To is one address, without a display name.
	To string
	// Subject is one line.
	Subject string
	// Text is plain text. Its lines end with "\n".
	Text string
}

// Sender delivers messages. Implementations are safe for concurrent use, and return soon
// after the context has ended.
type Sender interface {
	// Send returns nil once a server has taken the message. It returns an error that
	// matches [ErrRejected] if it cannot help to try again. After any other error, the
	// Queue tries again later.
	Send(ctx context.Context, message Message) error
}

// ErrRejected means that a message will not be taken however often it is sent, for
// example because there is no such mailbox.
var ErrRejected = errors.New("mail: rejected")

// TemplateData is what a template can use. All fields are single lines. A field that is
// not known, or has no meaning in a kind of mail, is empty.
//
// Account, NewEmail, Address, ClientID and UserAgent come from requests. They have at most
// 100 characters, and no control characters or invisible ones. Names of hosts and web
// addresses in them are broken up, such as "evil[.]example", so that no mail program makes
// a link of them. The exception is the Account of a mail that goes to its owner: there
// it is as the owner knows it.
type TemplateData struct {
	// Service is that of Config.
	Service string
	// Account is the name of the account.
	Account string
	// Time is when it happened, such as "24 November 2026, 14:05 UTC".
	Time string
	// Code must stand on a line of its own, and not in a link: whoever opens mails to check
	// them, such as a virus scanner, would use it up. Expires is when it ends, in the form of
	// Time. They are set in registration, password_reset and email_change.
	Code, Expires string
	// NewEmail is the new address in email_change and email_changed.
	NewEmail string
	// Address, ClientID and UserAgent tell where the request came from.
	Address, ClientID, UserAgent string
}

//go:embed templates
var embedded embed.FS

const (
	originFile = "origin.txt"
	timeLayout = "2 January 2006, 15:04 MST"
)

// templates makes messages.
type templates struct {
	service string
	byKind  map[store.MailKind]*template.Template
}

// newTemplates parses all templates, and runs each on sample data.
func newTemplates(service string, custom fs.FS) (*templates, error) {
	defaults, err := fs.Sub(embedded, "templates")
	if err != nil {
		return nil, err
	}
	origin, err := parse(template.New(originFile), originFile, custom, defaults)
	if err != nil {
		return nil, err
	}
	problems := unknownFiles(custom)
	made := &templates{service, make(map[store.MailKind]*template.Template)}
	for _, kind := range store.MailKinds() {
		base, err := origin.Clone()
		if err == nil {
			name := fileOf(kind)
			made.byKind[kind], err = parse(base.New(name), name, custom, defaults)
		}
		if err == nil {
			err = made.try(kind)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	return made, errors.Join(problems...)
}

// parse prefers the first file system that has the file.
func parse(into *template.Template, name string, custom, defaults fs.FS) (*template.Template, error) {
	text, err := []byte(nil), fs.ErrNotExist
	if custom != nil {
		text, err = fs.ReadFile(custom, name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		text, err = fs.ReadFile(defaults, name)
	}
	if err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return into.Parse(strings.ReplaceAll(strings.TrimPrefix(string(text), "\ufeff"), "\r\n", "\n"))
}

func fileOf(kind store.MailKind) string { return string(kind) + ".txt" }

// unknownFiles finds misspelled names: such a file would never be used.
func unknownFiles(custom fs.FS) (problems []error) {
	if custom == nil {
		return nil
	}
	names, err := fs.Glob(custom, "*.txt")
	if err != nil {
		return []error{err}
	}
	known := map[string]bool{originFile: true}
	for _, kind := range store.MailKinds() {
		known[fileOf(kind)] = true
	}
	for _, name := range names {
		if !known[name] {
			problems = append(problems, fmt.Errorf("template %s: there is no such kind of mail; the files are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
	}
	return problems
}

// try makes two messages: one with all that a mail can tell, and one with the least.
func (t *templates) try(kind store.MailKind) error {
	least := store.Mail{Kind: kind, To: "sample@example.com", Account: "sample", Time: time.Unix(0, 0)}
	if hasCode(kind) {
		least.Code, least.Expires = "SAMPLE-CODE-2345", time.Unix(3600, 0)
	}
	most := least
	most.NewEmail, most.Address, most.ClientID, most.UserAgent = "new@example.com", "192.0.2.1", "web", "Browser/1.0"
	for _, sample := range []*store.Mail{&least, &most} {
		if _, err := t.message(sample); err != nil {
			return fmt.Errorf("template %s: %w", fileOf(kind), err)
		}
	}
	return nil
}

// hasCode reports whether mails of the kind bring a code.
func hasCode(kind store.MailKind) bool {
	return kind == store.MailRegistration || kind == store.MailPasswordReset || kind == store.MailEmailChange
}

var validCode = regexp.MustCompile(`^[A-Z0-9]+(-[A-Z0-9]+)*$`)

// message makes the message of a mail. Its errors repeat nothing of the mail but the kind.
func (t *templates) message(mail *store.Mail) (Message, error) {
	chosen := t.byKind[mail.Kind]
	if chosen == nil {
		return Message{}, fmt.Errorf("mail: there is no kind of mail %q", clean(string(mail.Kind)))
	}
	data := TemplateData{
		Service:   t.service,
		Account:   clean(mail.Account),
		Time:      mail.Time.UTC().Format(timeLayout),
		NewEmail:  unlink(clean(mail.NewEmail)),
		Address:   unlink(clean(mail.Address)),
		ClientID:  unlink(clean(mail.ClientID)),
		UserAgent: unlink(clean(mail.UserAgent)),
	}
	// These two go to an address that somebody gave. It may be that of a stranger, and
	// somebody may have chosen the name of the account to say something to the stranger.
	if mail.Kind == store.MailRegistration || mail.Kind == store.MailEmailChange {
		data.Account = unlink(data.Account)
	}
	if hasCode(mail.Kind) {
		if !validCode.MatchString(mail.Code) {
			return Message{}, fmt.Errorf("mail: the code of a mail %q is not made of capital letters, digits and hyphens", mail.Kind)
		}
		data.Code, data.Expires = mail.Code, mail.Expires.UTC().Format(timeLayout)
	}
	var text strings.Builder
	if err := chosen.Execute(&text, data); err != nil {
		return Message{}, fmt.Errorf("mail: %w", err)
	}
	return split(mail.To, text.String(), data.Code)
}

// split takes the output of a template apart.
func split(to, text, code string) (Message, error) {
	first, rest, _ := strings.Cut(text, "\n")
	subject, isSubject := strings.CutPrefix(first, "Subject:")
	subject = strings.Join(strings.Fields(subject), " ") // no tabs
	body, blank := strings.CutPrefix(rest, "\n")
	body = strings.TrimSpace(body)
	switch {
	case !isSubject || subject == "":
		return Message{}, errors.New(`the first line must be "Subject: " and the subject`)
	case !blank || body == "":
		return Message{}, errors.New("a blank line and a text must follow the subject")
	case code != "" && !strings.Contains("\n"+body+"\n", "\n"+code+"\n"):
		return Message{}, errors.New("{{.Code}} must stand on a line of its own")
	}
	return Message{To: to, Subject: subject, Text: body + "\n"}, nil
}
