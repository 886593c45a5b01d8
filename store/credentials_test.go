package store_test

import (
	"context"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// withPassword are the calls that ask for the current password.
var withPassword = map[string]func(t testing.TB, k *lifeKit, id store.ID, current string) error{
	"password": func(t testing.TB, k *lifeKit, id store.ID, current string) error {
		return k.changePassword(t.Context(), id, current, newSecret)
	},
	"e-mail": func(t testing.TB, k *lifeKit, id store.ID, current string) error {
		return k.StartEmailChange(t.Context(), id, store.EmailChange{Email: "new@example.org", CurrentPassword: current})
	},
	"removal": func(t testing.TB, k *lifeKit, id store.ID, current string) error {
		return k.RemoveWithPassword(t.Context(), id, current)
	},
}

func TestCurrentPasswordIsAskedFor(t *testing.T) {
	for name, call := range withPassword {
		t.Run(name, func(t *testing.T) {
			k := newLifeKit(t, store.Config{})
			account := k.create(t, "ada")
			for _, wrong := range []string{"", "wrong", "\xff", secret + " "} {
				require.ErrorIs(t, call(t, k, account.ID, wrong), store.ErrCredentials)
			}
			assert.Equal(t, account, k.find(t, account.ID), "nothing has changed")
			assert.Empty(t, k.take(), "nothing is mailed")
			assert.ErrorIs(t, call(t, k, store.NewID(), secret), store.ErrNotFound)
			robot, err := k.Create(t.Context(), store.NewAccount{Name: "robot", Email: "robot@example.org", NoPassword: true})
			require.NoError(t, err)
			assert.ErrorIs(t, call(t, k, robot.ID, ""), store.ErrCredentials)
			assert.NoError(t, call(t, k, account.ID, secret))
		})
	}
}

// TestCurrentPasswordIsThrottled checks that all calls that ask for it have one count.
func TestCurrentPasswordIsThrottled(t *testing.T) {
	for name, call := range withPassword {
		t.Run(name, func(t *testing.T) {
			k := newLifeKit(t, store.Config{Throttle: store.Throttle{FreeFailures: 3}})
			account, other := k.create(t, "ada"), k.create(t, "grace")
			for _, wrong := range withPassword {
				require.ErrorIs(t, wrong(t, k, account.ID, "wrong"), store.ErrCredentials)
			}
			err := call(t, k, account.ID, secret)
			var throttled *store.ThrottledError
			require.ErrorAs(t, err, &throttled, "the right password is not looked at")
			assert.Equal(t, time.Second, throttled.RetryAfter)
			assert.False(t, throttled.Mails)
			assert.NoError(t, call(t, k, other.ID, secret), "another account has another count")
			assert.True(t, k.passwordIs(t, "ada", secret))
			k.now = k.now.Add(time.Second)
			assert.NoError(t, call(t, k, account.ID, secret))
		})
	}
}

// TestRightPasswordEndsTheFailedChecks: a typo now and then does no harm.
func TestRightPasswordEndsTheFailedChecks(t *testing.T) {
	k := newLifeKit(t, store.Config{Throttle: store.Throttle{FreeFailures: 2}})
	account := k.create(t, "ada")
	for range 3 {
		require.ErrorIs(t, withPassword["e-mail"](t, k, account.ID, "typo"), store.ErrCredentials)
		require.NoError(t, withPassword["e-mail"](t, k, account.ID, secret))
	}
}

// TestOutagesAreNoFailedChecks: nor do they stay under way.
func TestOutagesAreNoFailedChecks(t *testing.T) {
	for name, call := range withPassword {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &failingBackend{Backend: memstore.New()}
				k := newLifeKit(t, store.Config{Backend: backend, Throttle: store.Throttle{FreeFailures: 1}})
				account := k.create(t, "ada")
				for range 3 {
					backend.failNext("FindByID")
					require.ErrorIs(t, call(t, k, account.ID, secret), store.ErrUnavailable)
				}
				start := time.Now()
				assert.NoError(t, call(t, k, account.ID, secret))
				assert.Zero(t, time.Since(start), "nothing to wait for")
			})
		})
	}
}

// TestConfirmationsGiveTheirPlaceBack: one address confirms more often than it may at once.
func TestConfirmationsGiveTheirPlaceBack(t *testing.T) {
	k := newLifeKit(t, store.Config{Throttle: store.Throttle{AddressPending: 2}})
	k.create(t, "ada")
	for range 5 {
		_, err := k.ConfirmPasswordReset(t.Context(), k.resetCode(t, "ada@example.org"), newSecret, "192.0.2.1")
		require.NoError(t, err)
	}
}

func TestUnblockForgetsChecksOfTheCurrentPassword(t *testing.T) {
	k := newLifeKit(t, store.Config{Throttle: store.Throttle{FreeFailures: 1}})
	account := k.create(t, "ada")
	require.ErrorIs(t, k.changePassword(t.Context(), account.ID, "wrong", newSecret), store.ErrCredentials)
	require.ErrorIs(t, k.changePassword(t.Context(), account.ID, secret, newSecret), store.ErrThrottled)
	require.NoError(t, k.Unblock(t.Context(), account.ID))
	assert.NoError(t, k.changePassword(t.Context(), account.ID, secret, newSecret))
}

func TestOwnerChangesPassword(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	old := k.login(t, account)
	k.now = k.now.Add(time.Minute)
	state, err := k.ChangePassword(t.Context(), account.ID, secret, newSecret, store.NewSession{ClientID: "web", Address: "192.0.2.1", UserAgent: "x"})
	require.NoError(t, err)
	changed := k.find(t, account.ID)
	require.Len(t, changed.Sessions, 1, "every other session has ended")
	assert.Equal(t, state.Session, changed.Sessions[0])
	assert.Equal(t, changed, state.Account)
	assert.Equal(t, []string{"web", "192.0.2.1", "x"}, []string{state.Session.ClientID, state.Session.Address, state.Session.UserAgent})
	assert.Equal(t, k.now, changed.Modified)
	assert.Equal(t, k.now, changed.LastAction)
	_, err = k.FindBySession(t.Context(), old)
	assert.ErrorIs(t, err, store.ErrSessionEnded)
	_, err = k.FindBySession(t.Context(), store.SessionRef{AccountID: account.ID, SessionID: state.Session.ID, Generation: 1})
	assert.NoError(t, err)
	assert.True(t, k.passwordIs(t, "ada", newSecret))
	assert.False(t, k.passwordIs(t, "ada", secret))
	assert.Equal(t, "ada@example.org", k.mail(t, store.MailPasswordChanged).To)
}

// TestPolicyOfNewPasswords checks every call that sets one.
func TestPolicyOfNewPasswords(t *testing.T) {
	for name, set := range map[string]func(t testing.TB, k *lifeKit, id store.ID, password string) error{
		"ChangePassword": func(t testing.TB, k *lifeKit, id store.ID, password string) error {
			return k.changePassword(t.Context(), id, secret, password)
		},
		"SetPassword": func(t testing.TB, k *lifeKit, id store.ID, password string) error {
			return k.SetPassword(t.Context(), id, password)
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newLifeKit(t, store.Config{})
			account := k.create(t, "ada")
			for pass, reason := range refusedPasswords("ada") {
				requireReason(t, set(t, k, account.ID, pass), reason)
			}
			assert.Equal(t, account, k.find(t, account.ID))
			assert.Empty(t, k.take())
			assert.NoError(t, set(t, k, account.ID, newSecret))
		})
	}
}

// TestPolicySeesNameAndEmail checks that each call compares with both.
func TestPolicySeesNameAndEmail(t *testing.T) {
	const name, email = "nine.kettles", "Ten.Lanterns@example.org"
	confirm := func(t *testing.T, k *lifeKit, name, chosen, password string) error {
		_, err := k.ConfirmRegistration(t.Context(), store.RegistrationConfirmation{
			Code: k.registrationCode(t, name, "Ten.Lanterns@example.com"), Name: chosen, Password: password,
		})
		return err
	}
	for call, set := range map[string]func(t *testing.T, k *lifeKit, id store.ID, password string) error{
		"Create": func(t *testing.T, k *lifeKit, _ store.ID, password string) error {
			return second(k.Create(t.Context(), store.NewAccount{Name: name, Email: email, Password: password}))
		},
		"SetPassword": func(t *testing.T, k *lifeKit, id store.ID, password string) error {
			return k.SetPassword(t.Context(), id, password)
		},
		"ChangePassword": func(t *testing.T, k *lifeKit, id store.ID, password string) error {
			return k.changePassword(t.Context(), id, secret, password)
		},
		"ConfirmPasswordReset": func(t *testing.T, k *lifeKit, _ store.ID, password string) error {
			return second(k.ConfirmPasswordReset(t.Context(), k.resetCode(t, email), password, ""))
		},
		"ConfirmRegistration": func(t *testing.T, k *lifeKit, _ store.ID, password string) error {
			return confirm(t, k, name, "", password)
		},
		"ConfirmRegistration with another name": func(t *testing.T, k *lifeKit, _ store.ID, password string) error {
			return confirm(t, k, "other", name, password)
		},
	} {
		t.Run(call, func(t *testing.T) {
			k := newLifeKit(t, store.Config{})
			account, err := k.Create(t.Context(), store.NewAccount{Name: name, Email: email, Password: secret})
			require.NoError(t, err)
			for _, password := range []string{"Nine.Kettles-77", "ten.lanterns-77"} {
				requireReason(t, set(t, k, account.ID, password), store.PasswordPersonal)
			}
		})
	}
}

// formHasher notes what it is to hash. It calls every hash outdated.
type formHasher struct {
	plainHasher
	hashed []string
}

func (h *formHasher) Hash(ctx context.Context, pass string) (string, error) {
	h.hashed = append(h.hashed, pass)
	return h.plainHasher.Hash(ctx, url.QueryEscape(pass))
}

func (h *formHasher) Verify(ctx context.Context, pass string, stored func() (string, error)) (bool, bool, error) {
	match, _, err := h.plainHasher.Verify(ctx, url.QueryEscape(norm.NFC.String(pass)), stored)
	return match, true, err
}

// TestNewPasswordsAreHashedInOneForm: keyboards differ in the form that they send.
func TestNewPasswordsAreHashedInOneForm(t *testing.T) {
	const typed, form = "cafe\u0301 beside the quiet canal", "caf\u00e9 beside the quiet canal"
	for call, set := range map[string]func(t *testing.T, k *lifeKit, id store.ID) error{
		"Create": func(t *testing.T, k *lifeKit, _ store.ID) error {
			return second(k.Create(t.Context(), store.NewAccount{Name: "grace", Email: "grace@example.org", Password: typed}))
		},
		"SetPassword": func(t *testing.T, k *lifeKit, id store.ID) error { return k.SetPassword(t.Context(), id, typed) },
		"ChangePassword": func(t *testing.T, k *lifeKit, id store.ID) error {
			return k.changePassword(t.Context(), id, secret, typed)
		},
		"ConfirmPasswordReset": func(t *testing.T, k *lifeKit, _ store.ID) error {
			return second(k.ConfirmPasswordReset(t.Context(), k.resetCode(t, "ada@example.org"), typed, ""))
		},
		"ConfirmRegistration": func(t *testing.T, k *lifeKit, _ store.ID) error {
			code := k.registrationCode(t, "grace", "grace@example.org")
			return second(k.ConfirmRegistration(t.Context(), store.RegistrationConfirmation{Code: code, Password: typed}))
		},
		"a login with an outdated hash": func(t *testing.T, k *lifeKit, id store.ID) error {
			require.NoError(t, k.backend.Update(t.Context(), id, func(a *store.Account) error { a.PasswordHash = "hash:" + url.QueryEscape(form); return nil }))
			return second(k.VerifyPassword(t.Context(), "ada", typed))
		},
	} {
		t.Run(call, func(t *testing.T) {
			hasher := &formHasher{}
			k := newLifeKit(t, store.Config{Passwords: hasher})
			account := k.create(t, "ada")
			hasher.hashed = nil
			require.NoError(t, set(t, k, account.ID))
			assert.Equal(t, []string{form}, hasher.hashed)
		})
	}
}

// TestPolicySeesTheNewName checks a change of name and password in one call.
func TestPolicySeesTheNewName(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	name, pass := "nine-kettles-sing", "nine-kettles-sing-x"
	_, err := k.Change(t.Context(), account.ID, store.Changes{Name: &name, Password: &pass})
	requireReason(t, err, store.PasswordPersonal)
	assert.Equal(t, account, k.find(t, account.ID))
}

func TestRemovedAccountIsGone(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	account := k.create(t, "ada")
	ref := k.login(t, account)
	require.NoError(t, k.RemoveWithPassword(t.Context(), account.ID, secret))
	_, err := k.FindBySession(t.Context(), ref)
	assert.ErrorIs(t, err, store.ErrNotFound)
	k.create(t, "ada") // the name and the e-mail are free
}

// TestRemovalIsTriedThreeTimes: the account is disabled after the first step, so its owner could not
// try again. An outage that lasts ends the call all the same.
func TestRemovalIsTriedThreeTimes(t *testing.T) {
	for _, method := range []string{"Update", "Delete"} {
		for failures := 1; failures <= 3; failures++ {
			backend := &failingBackend{Backend: memstore.New()}
			k := newLifeKit(t, store.Config{Backend: backend})
			account := k.create(t, "ada")
			k.login(t, account)
			failed := 0
			backend.fail = func(called string) bool {
				if called != method || failed == failures {
					return false
				}
				failed++
				return true
			}
			err := k.RemoveWithPassword(t.Context(), account.ID, secret)
			assert.Equal(t, failures, failed)
			if failures == 3 {
				assert.ErrorIs(t, err, store.ErrUnavailable)
				left := k.backendFind(t, account.ID)
				assert.Equal(t, method == "Delete", left.Disabled)
				assert.Equal(t, method == "Delete", len(left.Sessions) == 0)
			} else {
				require.NoError(t, err)
				assert.ErrorIs(t, second(k.FindByID(t.Context(), account.ID)), store.ErrNotFound)
			}
		}
	}
}
