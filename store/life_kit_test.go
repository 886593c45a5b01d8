package store_test

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// prepareMail is what Accounts gives to a Mailer.
type prepareMail = func(context.Context) (*store.Mail, error)

// outbox is a Mailer that sends nothing. The test says when the work of each mail runs, and
// how often.
type outbox struct {
	mu      sync.Mutex
	waiting []prepareMail
	full    bool
}

var errFull = errors.New("the outbox is full")

func (o *outbox) Enqueue(prepare prepareMail) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.full {
		return errFull
	}
	o.waiting = append(o.waiting, prepare)
	return nil
}

// take returns the work that waits, and forgets it.
func (o *outbox) take() []prepareMail {
	o.mu.Lock()
	defer o.mu.Unlock()
	waiting := o.waiting
	o.waiting = nil
	return waiting
}

// deliver does the work that waits, and returns the mails that come of it.
func (o *outbox) deliver(t testing.TB) (mails []store.Mail) {
	t.Helper()
	for _, prepare := range o.take() {
		mail, err := prepare(t.Context())
		require.NoError(t, err)
		if mail != nil {
			mails = append(mails, *mail)
		}
	}
	return mails
}

// mail does the work that waits, and returns the only mail that comes of it.
func (o *outbox) mail(t testing.TB, kind store.MailKind) store.Mail {
	t.Helper()
	mails := o.deliver(t)
	require.Len(t, mails, 1)
	require.Equal(t, kind, mails[0].Kind)
	return mails[0]
}

// kindsOf returns what the mails are about, in order.
func kindsOf(mails []store.Mail) (kinds []store.MailKind) {
	for _, mail := range mails {
		kinds = append(kinds, mail.Kind)
	}
	return kinds
}

// lifeKit is a kit with mail. Unless the configuration sets limits, so many mails can be
// asked for that no test meets one.
type lifeKit struct {
	*kit
	*outbox
}

func newLifeKit(t testing.TB, config store.Config) *lifeKit {
	t.Helper()
	box := &outbox{}
	config.Mailer = box
	if config.Codes.MailsTo == 0 {
		config.Codes.MailsTo = 1 << 40
	}
	if config.Codes.MailsFrom == 0 {
		config.Codes.MailsFrom = -1
	}
	return &lifeKit{newKit(t, config), box}
}

// registrationCode asks for an account, and returns the code of the mail.
func (k *lifeKit) registrationCode(t testing.TB, name, email string) string {
	t.Helper()
	k.take()
	require.NoError(t, k.StartRegistration(t.Context(), store.Registration{Name: name, Email: email}))
	return k.mail(t, store.MailRegistration).Code
}

func (k *lifeKit) resetCode(t testing.TB, email string) string {
	t.Helper()
	k.take()
	require.NoError(t, k.StartPasswordReset(t.Context(), email, ""))
	return k.mail(t, store.MailPasswordReset).Code
}

// emailCode asks for a new e-mail with the password secret.
func (k *lifeKit) emailCode(t testing.TB, id store.ID, email string) string {
	t.Helper()
	k.take()
	require.NoError(t, k.StartEmailChange(t.Context(), id, store.EmailChange{Email: email, CurrentPassword: secret}))
	return k.mail(t, store.MailEmailChange).Code
}

func (k *lifeKit) confirm(t testing.TB, code, name string) (*store.Account, error) {
	t.Helper()
	return k.ConfirmRegistration(t.Context(), store.RegistrationConfirmation{Code: code, Password: secret, Name: name})
}

func (k *lifeKit) reset(t testing.TB, code string) error {
	t.Helper()
	_, err := k.ConfirmPasswordReset(t.Context(), code, newSecret, "")
	return err
}

// passwordIs reports whether the account can log in with the password.
func (k *lifeKit) passwordIs(t testing.TB, username, password string) bool {
	t.Helper()
	_, err := k.VerifyPassword(t.Context(), username, password)
	if err != nil {
		require.ErrorIs(t, err, store.ErrCredentials)
	}
	return err == nil
}

// requireExists requires that another account has the field.
func requireExists(t testing.TB, err error, field string) {
	t.Helper()
	var exists *store.ExistsError
	require.ErrorAs(t, err, &exists)
	require.Equal(t, field, exists.Field)
}

// failingBackend answers chosen calls with an outage.
type failingBackend struct {
	store.Backend
	mu   sync.Mutex
	fail func(method string) bool
	err  error // the default is ErrUnavailable
}

func (b *failingBackend) check(method string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil && b.fail(method) {
		return cmp.Or(b.err, store.ErrUnavailable)
	}
	return nil
}

// failNext makes the next call of the method fail, and no other.
func (b *failingBackend) failNext(method string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	failed := false
	b.fail = func(called string) bool {
		if failed || called != method {
			return false
		}
		failed = true
		return true
	}
}
