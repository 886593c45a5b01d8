package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func TestRegistrationMailsACodeThatMakesTheAccount(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	require.NoError(t, k.StartRegistration(t.Context(), store.Registration{
		Name: "Ada", Email: "Ada@Example.org", Phone: "+49 30 1", Address: "192.0.2.1",
	}))
	_, err := k.FindByName(t.Context(), "ada")
	require.ErrorIs(t, err, store.ErrNotFound, "a start makes no account")
	mail := k.mail(t, store.MailRegistration)
	assert.Equal(t, store.Mail{
		Kind: store.MailRegistration, To: "Ada@Example.org", Account: "ada", Time: epoch, Address: "192.0.2.1",
		Code: mail.Code, Expires: epoch.Add(time.Hour),
	}, mail)
	assert.Regexp(t, `^([0-9A-HJKMNP-TV-Z]{5}-){4}[0-9A-HJKMNP-TV-Z]{6}$`, mail.Code)

	account, err := k.confirm(t, mail.Code, "")
	require.NoError(t, err)
	assert.Equal(t, account, k.find(t, account.ID))
	assert.Equal(t, []string{"ada", "Ada@Example.org", "ada@example.org", "+49 30 1"},
		[]string{account.Name, account.Email, account.EmailKey, account.Phone})
	assert.Empty(t, account.Groups)
	assert.True(t, k.passwordIs(t, "ada", secret))
	_, err = k.confirm(t, mail.Code, "ada2")
	assert.ErrorIs(t, err, store.ErrCode, "a code works once")
}

func TestRegistrationReservesNothing(t *testing.T) {
	hasher := &formHasher{}
	k := newLifeKit(t, store.Config{Passwords: hasher})
	first := k.registrationCode(t, "ada", "ada@example.org")
	again := k.registrationCode(t, "ada", "ada@example.org")
	rival := k.registrationCode(t, "ada", "grace@example.org")
	k.create(t, "alan")
	winner, err := k.confirm(t, rival, "")
	require.NoError(t, err)
	assert.Equal(t, "grace@example.org", winner.Email)

	hashed := len(hasher.hashed)
	for range 2 { // the code stays good
		_, err = k.confirm(t, first, "")
		requireExists(t, err, "name")
		_, err = k.confirm(t, first, "alan")
		requireExists(t, err, "name")
		_, err = k.confirm(t, first, "a b")
		require.ErrorIs(t, err, store.ErrInvalid)
		require.Len(t, hasher.hashed, hashed, "what is taken costs no hash")
	}
	loser, err := k.confirm(t, first, "Ada2")
	require.NoError(t, err)
	assert.Equal(t, "ada2", loser.Name)
	_, err = k.confirm(t, again, "ada3")
	requireExists(t, err, "email")
	require.Len(t, hasher.hashed, hashed+1)
	require.NoError(t, k.Remove(t.Context(), loser.ID))
	_, err = k.confirm(t, again, "ada3")
	assert.NoError(t, err, "the code stayed good, and the e-mail is free again")
}

func TestRegistrationWithAKnownAddressTellsItsOwner(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	k.create(t, "ada")
	require.NoError(t, k.StartRegistration(t.Context(), store.Registration{Name: "grace", Email: "ADA@example.org", Address: "192.0.2.1"}))
	mail := k.mail(t, store.MailAddressInUse)
	assert.Equal(t, store.Mail{
		Kind: store.MailAddressInUse, To: "ada@example.org", Account: "ada", Time: epoch, Address: "192.0.2.1",
	}, mail, "the mail goes to the stored address and has no code")
}

// TestLateRegistrationMail checks what the mail says if the account was made after the start.
func TestLateRegistrationMail(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	require.NoError(t, k.StartRegistration(t.Context(), store.Registration{Name: "grace", Email: "ada@example.org"}))
	k.create(t, "ada")
	k.mail(t, store.MailAddressInUse)

	require.NoError(t, k.StartRegistration(t.Context(), store.Registration{Name: "late", Email: "late@example.org"}))
	k.now = k.now.Add(50 * time.Minute)
	mail := k.mail(t, store.MailRegistration)
	assert.Equal(t, epoch, mail.Time, "when it was asked for")
	assert.Equal(t, k.now.Add(time.Hour), mail.Expires, "a late mail is as good as any")
}

// TestMailWorkThatRunsAgain checks work that fails, and then runs twice. All its codes
// together make one account.
func TestMailWorkThatRunsAgain(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New(), err: errDisk}
	k := newLifeKit(t, store.Config{Backend: backend})
	require.NoError(t, k.StartRegistration(t.Context(), store.Registration{Name: "ada", Email: "ada@example.org"}))
	work := k.take()
	require.Len(t, work, 1)
	for _, method := range []string{"FindByEmail", "UpdateRecord"} {
		backend.failNext(method)
		mail, err := work[0](t.Context())
		require.ErrorIs(t, err, store.ErrUnavailable, "the Mailer tries again after this error")
		require.Nil(t, mail)
	}
	first, err := work[0](t.Context())
	require.NoError(t, err)
	second, err := work[0](t.Context())
	require.NoError(t, err)
	require.NotEqual(t, first.Code, second.Code)
	_, err = k.confirm(t, second.Code, "")
	require.NoError(t, err)
	_, err = k.confirm(t, first.Code, "grace")
	assert.ErrorIs(t, err, store.ErrCode)
}

// TestCodesDieWithTheirAccount checks an account that is removed and then made again, with the
// same id, by another code of its registration. It has nothing to do with the old one.
func TestCodesDieWithTheirAccount(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	require.NoError(t, k.StartRegistration(t.Context(), store.Registration{Name: "ada", Email: "ada@example.org"}))
	work := k.take()
	first, err := work[0](t.Context())
	require.NoError(t, err)
	second, err := work[0](t.Context())
	require.NoError(t, err)
	old, err := k.confirm(t, first.Code, "")
	require.NoError(t, err)
	reset, email := k.resetCode(t, "ada@example.org"), k.emailCode(t, old.ID, "new@example.org")
	require.NoError(t, k.Remove(t.Context(), old.ID))
	again, err := k.confirm(t, second.Code, "")
	require.NoError(t, err)
	require.Equal(t, old.ID, again.ID)
	assert.ErrorIs(t, k.reset(t, reset), store.ErrCode)
	assert.ErrorIs(t, k.ConfirmEmailChange(t.Context(), again.ID, email), store.ErrCode)
}

func TestRegistrationNamesEachWrongField(t *testing.T) {
	k := newLifeKit(t, store.Config{RegistrationDomains: []string{"Example.org", "bücher.example"}})
	for name, test := range map[string]struct {
		wanted store.Registration
		fields []string
	}{
		"all wrong":           {store.Registration{Name: "a b", Email: "x", Phone: "?"}, []string{"name", "email", "phone"}},
		"no name":             {store.Registration{Email: "ada@example.org"}, []string{"name"}},
		"no e-mail":           {store.Registration{Name: "ada"}, []string{"email"}},
		"another domain":      {store.Registration{Name: "ada", Email: "ada@example.com"}, []string{"email"}},
		"a subdomain":         {store.Registration{Name: "ada", Email: "ada@sub.example.org"}, []string{"email"}},
		"a domain in a quote": {store.Registration{Name: "ada", Email: `"@example.org"@example.com`}, []string{"email"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := k.StartRegistration(t.Context(), test.wanted)
			require.ErrorIs(t, err, store.ErrInvalid)
			for _, field := range test.fields {
				assert.ErrorContains(t, err, "invalid "+field)
			}
		})
	}
	require.Empty(t, k.take(), "nothing was mailed")
	k.registrationCode(t, "ada", "ada@EXAMPLE.org")
	k.registrationCode(t, "grace", "grace@xn--bcher-kva.example")
}

// TestConfirmRegistrationKeepsTheCode checks the errors after which the code stays good.
func TestConfirmRegistrationKeepsTheCode(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New()}
	k := newLifeKit(t, store.Config{Backend: backend})
	code := k.registrationCode(t, "ada", "ada@example.org")
	for _, method := range []string{"UpdateRecord", "FindByID", "Create"} {
		backend.err = map[string]error{"UpdateRecord": errDisk}[method]
		backend.failNext(method)
		_, err := k.confirm(t, code, "")
		require.ErrorIs(t, err, store.ErrUnavailable, method)
		require.NotErrorIs(t, err, store.ErrCode)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.ConfirmRegistration(ended, store.RegistrationConfirmation{Code: code, Password: secret})
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrCode)
	for pass, reason := range refusedPasswords("ada") {
		_, err := k.ConfirmRegistration(t.Context(), store.RegistrationConfirmation{Code: code, Password: pass})
		requireReason(t, err, reason)
	}
	_, err = k.confirm(t, code, "")
	assert.NoError(t, err)
}

// TestCodeThatIsGivenBackEndsAsBefore: it does not get another hour.
func TestCodeThatIsGivenBackEndsAsBefore(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New()}
	k := newLifeKit(t, store.Config{Backend: backend})
	code := k.registrationCode(t, "ada", "ada@example.org")
	k.now = k.now.Add(59 * time.Minute)
	backend.failNext("Create")
	require.ErrorIs(t, second(k.confirm(t, code, "")), store.ErrUnavailable)
	k.now = k.now.Add(time.Minute)
	assert.ErrorIs(t, second(k.confirm(t, code, "")), store.ErrCode)
}

// TestHangUpKeepsTheCode: the client hangs up while the account is being made, and it is not made.
func TestHangUpKeepsTheCode(t *testing.T) {
	backend := &hungUpBackend{Backend: memstore.New()}
	k := newLifeKit(t, store.Config{Backend: backend})
	code := k.registrationCode(t, "ada", "ada@example.org")
	ctx, hangUp := context.WithCancel(t.Context())
	backend.hangUp = hangUp
	_, err := k.ConfirmRegistration(ctx, store.RegistrationConfirmation{Code: code, Password: secret})
	require.ErrorIs(t, err, context.Canceled)
	assert.NoError(t, second(k.confirm(t, code, "")))
}

// hungUpBackend has a client that hangs up when the next account is to be made.
type hungUpBackend struct {
	store.Backend
	hangUp context.CancelFunc
}

func (b *hungUpBackend) Create(ctx context.Context, account *store.Account) error {
	if b.hangUp != nil {
		b.hangUp()
		b.hangUp = nil
	}
	return b.Backend.Create(ctx, account)
}

func TestWithoutMailerNobodyRegisters(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	assert.ErrorIs(t, k.StartRegistration(t.Context(), store.Registration{Name: "grace", Email: "grace@example.org"}), store.ErrNoMailer)
	assert.ErrorIs(t, k.StartPasswordReset(t.Context(), "ada@example.org", ""), store.ErrNoMailer)
	assert.ErrorIs(t, k.StartPasswordReset(t.Context(), "nobody@example.org", ""), store.ErrNoMailer)
	for _, current := range []string{secret, "wrong"} {
		assert.ErrorIs(t, k.StartEmailChange(t.Context(), account.ID, store.EmailChange{Email: "new@example.org", CurrentPassword: current}), store.ErrNoMailer)
	}
	assert.NoError(t, k.changePassword(t.Context(), account.ID, secret, newSecret), "this needs no mail")
}
