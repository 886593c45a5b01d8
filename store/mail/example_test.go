package mail_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing/fstest"
	"time"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
)

// printer stands for a mail service of your own.
type printer struct{}

func (printer) Send(_ context.Context, message mail.Message) error {
	fmt.Printf("To: %s\nSubject: %s\n\n%s", message.To, message.Subject, message.Text)
	return nil
}

// Accounts of package store call Enqueue. Here the example does.
func ExampleNewQueue() {
	queue, err := mail.NewQueue(mail.Config{Sender: printer{}, Service: "Example"})
	if err != nil {
		panic(err)
	}
	now := time.Date(2026, 11, 24, 14, 5, 0, 0, time.UTC)
	err = queue.Enqueue(func(context.Context) (*store.Mail, error) {
		return &store.Mail{
			Kind: store.MailPasswordReset, To: "ann@example.com", Account: "ann", Time: now,
			Code: "K7QX-29PM-4TWD", Expires: now.Add(time.Hour),
			Address: "203.0.113.7", UserAgent: "Firefox, see https://evil.example",
		}, nil
	})
	if err != nil {
		panic(err)
	}
	if err := queue.Close(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println("sent:", queue.Counts().Sent)
	// Output:
	// To: ann@example.com
	// Subject: Your new password for Example
	//
	// Somebody asked for a new password for your account at Example.
	//
	// Name of your account: ann
	// When: 24 November 2026, 14:05 UTC
	// From the network address: 203.0.113.7
	// Which calls itself: Firefox, see https[:]//evil[.]example
	//
	// If it was you, enter this code to set a new password:
	//
	// K7QX-29PM-4TWD
	//
	// The code is good until 24 November 2026, 15:05 UTC, and once only.
	// Never pass it on. Nobody at Example will ask you for it.
	//
	// If it was not you, there is nothing to do. Your password has not changed.
	// sent: 1
}

// Templates of your own replace some of the texts. They usually come from a directory
// (os.DirFS) or are embedded in the program (embed.FS).
func ExampleConfig_templates() {
	queue, err := mail.NewQueue(mail.Config{
		Sender:  printer{},
		Service: "Beispiel",
		Templates: fstest.MapFS{"password_changed.txt": {Data: []byte(`Subject: Neues Passwort für {{.Service}}

Hallo {{.Account}}, Ihr Passwort ist neu.
`)}},
	})
	if err != nil {
		panic(err)
	}
	err = queue.Enqueue(func(context.Context) (*store.Mail, error) {
		return &store.Mail{Kind: store.MailPasswordChanged, To: "ann@example.com", Account: "ann"}, nil
	})
	if err != nil {
		panic(err)
	}
	if err := queue.Close(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// To: ann@example.com
	// Subject: Neues Passwort für Beispiel
	//
	// Hallo ann, Ihr Passwort ist neu.
}

// During development, mails can go to the log.
func ExampleLogSender() {
	withoutTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	sender := mail.LogSender{Logger: logger}
	err := sender.Send(context.Background(), mail.Message{To: "ann@example.com", Subject: "Hello", Text: "Ann\n"})
	fmt.Println(err)
	// Output:
	// level=WARN msg=mail_logged warning="mails go to this log, codes included, and to nobody else" to=ann@example.com subject=Hello text="Ann\n"
	// <nil>
}
