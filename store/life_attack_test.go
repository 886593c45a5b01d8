package store_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// busyHasher counts the hashes that it makes, and can hold one.
type busyHasher struct {
	store.PasswordHasher
	made int
	hold func() // called before a hash, if set
}

func (h *busyHasher) Hash(ctx context.Context, pass string) (string, error) {
	h.made++
	if h.hold != nil {
		h.hold()
	}
	return h.PasswordHasher.Hash(ctx, pass)
}

// TestTakenNameCostsNoHash: whoever has one code could otherwise keep the hasher busy, as
// the code stays good.
func TestTakenNameCostsNoHash(t *testing.T) {
	hasher := &busyHasher{PasswordHasher: middlewaretest.Hasher()}
	k := newLifeKit(t, store.Config{Passwords: hasher})
	code := k.registrationCode(t, "grace", "grace@example.org")
	k.create(t, "ada")
	hasher.made = 0
	for range 10 {
		_, err := k.confirm(t, code, "ada")
		require.ErrorIs(t, err, store.ErrExists)
	}
	assert.Zero(t, hasher.made)
	_, err := k.confirm(t, code, "")
	assert.NoError(t, err)
}

// TestConfirmationsHaveAShareOfTheHasher: as logins of one address have.
func TestConfirmationsHaveAShareOfTheHasher(t *testing.T) {
	hasher := &busyHasher{PasswordHasher: middlewaretest.Hasher()}
	k := newLifeKit(t, store.Config{Passwords: hasher, Throttle: store.Throttle{AddressPending: 1}})
	k.create(t, "ada")
	code := k.resetCode(t, "ada@example.org")
	const address = "192.0.2.1"
	hasher.hold = func() {
		hasher.hold = nil
		_, err := k.ConfirmPasswordReset(t.Context(), code, newSecret, address)
		assert.ErrorIs(t, err, store.ErrUnavailable, "one is under way from there")
	}
	_, err := k.ConfirmPasswordReset(t.Context(), code, newSecret, address)
	assert.NoError(t, err)

	code = k.registrationCode(t, "grace", "grace@example.org")
	confirm := func() error {
		return second(k.ConfirmRegistration(t.Context(), store.RegistrationConfirmation{Code: code, Password: secret, Address: address}))
	}
	hasher.hold = func() {
		hasher.hold = nil
		assert.ErrorIs(t, confirm(), store.ErrUnavailable)
	}
	assert.NoError(t, confirm())
}

// TestRegistrationCodeMakesOneAccount: also if the account is removed while another call
// with the code is still hashing.
func TestRegistrationCodeMakesOneAccount(t *testing.T) {
	hasher := &busyHasher{PasswordHasher: middlewaretest.Hasher()}
	k := newLifeKit(t, store.Config{Passwords: hasher})
	code := k.registrationCode(t, "grace", "grace@example.org")
	hasher.hold = func() {
		hasher.hold = nil
		account, err := k.confirm(t, code, "")
		require.NoError(t, err)
		require.NoError(t, k.Remove(t.Context(), account.ID))
	}
	_, err := k.confirm(t, code, "")
	assert.ErrorIs(t, err, store.ErrCode)
	_, err = k.confirm(t, code, "")
	assert.ErrorIs(t, err, store.ErrCode)
	_, err = k.FindByName(t.Context(), "grace")
	assert.ErrorIs(t, err, store.ErrNotFound)
}

// TestCodeThatHasJustMadeTheAccountIsUsed: a double click. The name is taken by the account of the code
// itself, so there is no other name to choose.
func TestCodeThatHasJustMadeTheAccountIsUsed(t *testing.T) {
	backend := &changingBackend{Backend: memstore.New()}
	k := newLifeKit(t, store.Config{Backend: backend})
	code := k.registrationCode(t, "grace", "grace@example.org")
	backend.change = func() { // the first look has found no account
		assert.NoError(t, second(k.confirm(t, code, "")))
	}
	assert.ErrorIs(t, second(k.confirm(t, code, "")), store.ErrCode)
}

// changingBackend changes the account right after it was read for a check of its password.
type changingBackend struct {
	store.Backend
	change func()
}

func (b *changingBackend) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	account, err := b.Backend.FindByID(ctx, id)
	if change := b.change; change != nil {
		b.change = nil
		change()
	}
	return account, err
}

// TestOldPasswordRemovesNoAccount: a thief with the old password must not remove the account
// whose password the owner changes at the same moment.
func TestOldPasswordRemovesNoAccount(t *testing.T) {
	backend := &changingBackend{Backend: memstore.New()}
	k := newLifeKit(t, store.Config{Backend: backend})
	account := k.create(t, "ada")
	hash, err := middlewaretest.Hasher().Hash(t.Context(), newSecret)
	require.NoError(t, err)
	backend.change = func() { // the hasher is busy with the check
		require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
			a.PasswordHash = hash
			return nil
		}))
	}
	assert.ErrorIs(t, k.RemoveWithPassword(t.Context(), account.ID, secret), store.ErrCredentials)
	assert.True(t, k.passwordIs(t, "ada", newSecret))
}

// TestMailsOfLoginsAreBounded: each login can name another client, and so look new.
func TestMailsOfLoginsAreBounded(t *testing.T) {
	k := newLifeKit(t, store.Config{})
	k.create(t, "ada")
	k.create(t, "grace")
	logIn := func(name string, i int) {
		_, err := k.Login(t.Context(), store.Login{
			Username: name, Password: secret, Address: fmt.Sprint("192.0.2.", i), Session: store.NewSession{ClientID: fmt.Sprint("client-", i)},
		})
		require.NoError(t, err)
	}
	for i := range 20 {
		logIn("ada", i)
	}
	mails := k.deliver(t)
	require.Len(t, mails, 5)
	assert.Equal(t, "192.0.2.0", mails[0].Address, "the session tells no address")
	logIn("grace", 1)
	assert.Len(t, k.deliver(t), 1, "another account has another count")
	k.now = k.now.Add(time.Hour)
	logIn("ada", 20)
	assert.Len(t, k.deliver(t), 1)
}
