package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// refusedPasswords are new passwords that an account of this name may not have.
func refusedPasswords(name string) map[string]store.PasswordReason {
	return map[string]store.PasswordReason{
		"":                                  store.PasswordTooShort,
		"short":                             store.PasswordTooShort,
		strings.Repeat("nine kettles ", 50): store.PasswordTooLong,
		strings.Repeat("nine kettles ", 90): store.PasswordTooLong, // beyond what can be hashed
		"passwordpasswordpassword":          store.PasswordCommon,
		name + "@example.org-77":            store.PasswordPersonal,
	}
}

func requireReason(t testing.TB, err error, reason store.PasswordReason) {
	t.Helper()
	var refused *store.PasswordError
	require.ErrorAs(t, err, &refused)
	require.ErrorIs(t, err, store.ErrInvalid)
	require.Equal(t, reason, refused.Reason)
}

func TestPasswordResetEndsSessionsAndThrottle(t *testing.T) {
	k := newLifeKit(t, store.Config{Throttle: store.Throttle{FreeFailures: 2}})
	account := k.create(t, "ada")
	k.login(t, account)
	logIn := func(username, pass string) error {
		_, err := k.Login(t.Context(), store.Login{Username: username, Password: pass, Address: "192.0.2.1", Session: store.NewSession{ClientID: "app"}})
		return err
	}
	for _, username := range []string{"ada", "ada@example.org"} {
		for range 2 {
			require.ErrorIs(t, logIn(username, "wrong"), store.ErrCredentials)
		}
		require.ErrorIs(t, logIn(username, secret), store.ErrThrottled)
	}
	for range 2 {
		require.ErrorIs(t, k.changePassword(t.Context(), account.ID, "wrong", newSecret), store.ErrCredentials)
	}
	require.ErrorIs(t, k.changePassword(t.Context(), account.ID, secret, newSecret), store.ErrThrottled)

	require.NoError(t, k.StartPasswordReset(t.Context(), "ADA@example.org", "192.0.2.1"))
	mail := k.mail(t, store.MailPasswordReset)
	assert.Equal(t, store.Mail{
		Kind: store.MailPasswordReset, To: "ada@example.org", Account: "ada", Time: epoch, Address: "192.0.2.1",
		Code: mail.Code, Expires: epoch.Add(time.Hour),
	}, mail)
	id, err := k.ConfirmPasswordReset(t.Context(), mail.Code, newSecret, "")
	require.NoError(t, err)
	assert.Equal(t, account.ID, id)
	assert.Empty(t, k.find(t, account.ID).Sessions)
	told := k.mail(t, store.MailPasswordChanged)
	assert.Equal(t, "ada@example.org", told.To)

	assert.NoError(t, logIn("ada", newSecret), "the failed logins are forgotten")
	assert.NoError(t, logIn("ada@example.org", newSecret))
	assert.NoError(t, k.changePassword(t.Context(), account.ID, newSecret, secret))
	assert.ErrorIs(t, k.reset(t, mail.Code), store.ErrCode, "a code works once")
	assert.True(t, k.passwordIs(t, "ada", secret))
}

// TestChangesOfCredentialsVoidAllCodes checks what voids the codes of an account, and what
// does not.
func TestChangesOfCredentialsVoidAllCodes(t *testing.T) {
	other, first, spelling := "other@example.org", "first@example.org", "Ada@example.org"
	yes, no, name, phone, pass := true, false, "lovelace", "+1 2", newSecret
	for what, test := range map[string]struct {
		change func(t *testing.T, k *lifeKit, id store.ID) error
		voids  bool
	}{
		"reset": {func(t *testing.T, k *lifeKit, _ store.ID) error { return k.reset(t, k.resetCode(t, "ada@example.org")) }, true},
		"new e-mail by code": {func(t *testing.T, k *lifeKit, id store.ID) error {
			return k.ConfirmEmailChange(t.Context(), id, k.emailCode(t, id, other))
		}, true},
		"new password by owner": {func(t *testing.T, k *lifeKit, id store.ID) error {
			return k.changePassword(t.Context(), id, secret, newSecret)
		}, true},
		"SetPassword":        {func(t *testing.T, k *lifeKit, id store.ID) error { return k.SetPassword(t.Context(), id, newSecret) }, true},
		"the same password":  {func(t *testing.T, k *lifeKit, id store.ID) error { return k.SetPassword(t.Context(), id, secret) }, true},
		"Change of password": {changing(store.Changes{Password: &pass, Name: &name}), true},
		"Change of e-mail":   {changing(store.Changes{Email: &other}), true},
		"another spelling":   {changing(store.Changes{Email: &spelling}), true},
		"name and phone":     {changing(store.Changes{Name: &name, Phone: &phone}), false},
		"a disabled account": {func(t *testing.T, k *lifeKit, id store.ID) error { return k.Disable(t.Context(), id) }, true},
		"disabled, and enabled again": {func(t *testing.T, k *lifeKit, id store.ID) error {
			require.NoError(t, changing(store.Changes{Disabled: &yes})(t, k, id))
			return changing(store.Changes{Disabled: &no})(t, k, id)
		}, false},
		"a removed account": {func(t *testing.T, k *lifeKit, id store.ID) error { return k.Remove(t.Context(), id) }, true},
		"a login":           {func(t *testing.T, k *lifeKit, id store.ID) error { k.login(t, k.find(t, id)); return nil }, false},
		"another start":     {func(t *testing.T, k *lifeKit, _ store.ID) error { k.resetCode(t, "ada@example.org"); return nil }, false},
	} {
		for _, kind := range []store.MailKind{store.MailPasswordReset, store.MailEmailChange} {
			t.Run(what+", "+string(kind), func(t *testing.T) {
				k := newLifeKit(t, store.Config{})
				id := k.create(t, "ada").ID
				for _, email := range []string{first, "ada@example.org"} { // no change leaves the version of another one
					require.NoError(t, changing(store.Changes{Email: &email})(t, k, id))
				}
				var use func() error
				if kind == store.MailPasswordReset {
					code := k.resetCode(t, "ada@example.org")
					use = func() error {
						if test.voids {
							assert.ErrorIs(t, second(k.ConfirmPasswordReset(t.Context(), code, "short", "")), store.ErrCode)
						}
						return k.reset(t, code)
					}
				} else {
					code := k.emailCode(t, id, "new@example.org")
					use = func() error { return k.ConfirmEmailChange(t.Context(), id, code) }
				}
				require.NoError(t, test.change(t, k, id))
				if err := use(); test.voids {
					assert.ErrorIs(t, err, store.ErrCode)
				} else {
					assert.NoError(t, err)
				}
			})
		}
	}
}

func changing(changes store.Changes) func(*testing.T, *lifeKit, store.ID) error {
	return func(t *testing.T, k *lifeKit, id store.ID) error {
		_, err := k.Change(t.Context(), id, changes)
		return err
	}
}

func TestNobodyGetsAResetMailButAnEnabledAccount(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	disabled := k.create(t, "ada")
	require.NoError(t, k.Disable(t.Context(), disabled.ID))
	removed := k.create(t, "grace")
	require.NoError(t, k.StartPasswordReset(t.Context(), "grace@example.org", "")) // the mail is late
	require.NoError(t, k.Remove(t.Context(), removed.ID))
	for _, address := range []string{"ada@example.org", "nobody@example.org"} {
		require.NoError(t, k.StartPasswordReset(t.Context(), address, ""))
	}
	assert.Empty(t, k.deliver(t))
	assert.ErrorIs(t, k.StartPasswordReset(t.Context(), "no address", ""), store.ErrInvalid)
	require.NoError(t, k.Enable(t.Context(), disabled.ID))
	k.resetCode(t, "ada@example.org")
}

// TestLateResetMail checks a mail whose work runs after the account has changed. Its code
// is for the account as it is then.
func TestLateResetMail(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New(), err: errDisk}
	k := newLifeKit(t, store.Config{Backend: backend})
	account := k.create(t, "ada")
	require.NoError(t, k.StartPasswordReset(t.Context(), "ada@example.org", ""))
	work := k.take()
	require.NoError(t, k.SetPassword(t.Context(), account.ID, newSecret))
	k.now = k.now.Add(time.Minute)
	for _, method := range []string{"FindByEmail", "UpdateRecord"} {
		backend.failNext(method)
		_, err := work[0](t.Context())
		require.ErrorIs(t, err, store.ErrUnavailable, "the Mailer tries again after this error")
	}
	mail, err := work[0](t.Context())
	require.NoError(t, err)
	assert.Equal(t, epoch, mail.Time, "when it was asked for")
	require.NoError(t, k.reset(t, mail.Code))

	moved := "moved@example.org"
	_, err = k.Change(t.Context(), account.ID, store.Changes{Email: &moved})
	require.NoError(t, err)
	mail, err = work[0](t.Context())
	require.NoError(t, err)
	assert.Nil(t, mail, "the old address belongs to nobody")
}

// TestAccountChangesDuringAReset: another call is faster than the hasher. Then the code is void.
func TestAccountChangesDuringAReset(t *testing.T) {
	for name, change := range map[string]func(k *kit, id store.ID) error{
		"password": func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, secret) },
		"disabled": func(k *kit, id store.ID) error { return k.Disable(context.Background(), id) },
		"removed":  func(k *kit, id store.ID) error { return k.Remove(context.Background(), id) },
	} {
		t.Run(name, func(t *testing.T) {
			other := newKit(t, store.Config{Passwords: &plainHasher{}})
			account := other.create(t, "ada")
			k := newLifeKit(t, store.Config{Backend: other.backend, Passwords: meanwhileHasher{&plainHasher{}, func() {
				assert.NoError(t, change(other, account.ID))
			}}})
			assert.ErrorIs(t, k.reset(t, k.resetCode(t, "ada@example.org")), store.ErrCode)
			if name != "removed" {
				assert.Equal(t, "hash:"+secret, other.find(t, account.ID).PasswordHash)
			}
		})
	}
}

// meanwhileHasher does something before it hashes.
type meanwhileHasher struct {
	*plainHasher
	meanwhile func()
}

func (h meanwhileHasher) Hash(ctx context.Context, pass string) (string, error) {
	h.meanwhile()
	return h.plainHasher.Hash(ctx, pass)
}

func TestConfirmPasswordResetKeepsTheCode(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New()}
	k := newLifeKit(t, store.Config{Backend: backend})
	account := k.create(t, "ada")
	code := k.resetCode(t, "ada@example.org")
	for _, method := range []string{"UpdateRecord", "FindByID", "Update"} {
		backend.err = map[string]error{"UpdateRecord": errDisk}[method]
		backend.failNext(method)
		err := k.reset(t, code)
		require.ErrorIs(t, err, store.ErrUnavailable, method)
		require.NotErrorIs(t, err, store.ErrCode)
	}
	for pass, reason := range refusedPasswords("ada") {
		_, err := k.ConfirmPasswordReset(t.Context(), code, pass, "")
		requireReason(t, err, reason)
	}
	assert.True(t, k.passwordIs(t, "ada", secret))
	require.NoError(t, k.reset(t, code))
	assert.Empty(t, k.find(t, account.ID).Sessions)
}
