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
	"github.com/oauthsv/oauthsv/store/password"
)

func TestVerifyPassword(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account := k.create(t, "ada")
	robot, err := k.Create(ctx, store.NewAccount{Name: "robot", Email: "robot@example.org", NoPassword: true})
	require.NoError(t, err)
	disabled := k.create(t, "grace")
	require.NoError(t, k.Disable(ctx, disabled.ID))
	pass := "Z\u0323\u0307 \U0001f511\t\x01 nine kettles sing" // its composition depends on the keyboard
	composed, err := k.Create(ctx, store.NewAccount{Name: "emoji", Email: "emoji@example.org", Password: pass})
	require.NoError(t, err)

	for _, login := range []struct{ username, password string }{{"ada", secret}, {"ADA", secret}, {"Ada@Example.org", secret}} {
		got, err := k.VerifyPassword(ctx, login.username, login.password)
		require.NoError(t, err)
		assert.Equal(t, account.ID, got.ID)
	}
	got, err := k.VerifyPassword(ctx, "emoji", "Z\u0307\u0323 \U0001f511\t\x01 nine kettles sing")
	require.NoError(t, err)
	assert.Equal(t, composed.ID, got.ID)

	for name, test := range map[string]struct {
		username, password string
		id                 store.ID
	}{
		"wrong password":      {"ada", "Secret", account.ID},
		"unknown name":        {"nobody", secret, store.NilID},
		"unknown e-mail":      {"nobody@example.org", secret, store.NilID},
		"impossible name":     {"a b", secret, store.NilID},
		"impossible e-mail":   {"@", secret, store.NilID},
		"empty password":      {"ada", "", store.NilID},
		"long password":       {"ada", strings.Repeat("x", 1025), store.NilID},
		"invalid UTF-8":       {"ada", "\xff", store.NilID},
		"no password set":     {"robot", secret, robot.ID},
		"no password, either": {"robot", "", store.NilID},
		"disabled":            {"grace", secret, disabled.ID},
		"disabled and wrong":  {"grace", "wrong", disabled.ID},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := k.VerifyPassword(ctx, test.username, test.password)
			var failed *store.CredentialsError
			require.ErrorAs(t, err, &failed)
			assert.ErrorIs(t, err, store.ErrCredentials)
			assert.Equal(t, test.id, failed.AccountID)
			assert.Equal(t, store.ErrCredentials.Error(), err.Error(), "one and the same error")
		})
	}
}

// countingHasher counts the work for passwords, including new hashes.
type countingHasher struct {
	*password.Hasher
	verified int
}

func (h *countingHasher) Verify(ctx context.Context, pass string, stored func() (string, error)) (bool, bool, error) {
	h.verified++
	return h.Hasher.Verify(ctx, pass, stored)
}

func TestEveryFailedLoginCostsOneHash(t *testing.T) {
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	counting := &countingHasher{Hasher: hasher}
	k := newKit(t, store.Config{Passwords: counting})
	k.create(t, "ada")
	disabled := k.create(t, "grace")
	require.NoError(t, k.Disable(t.Context(), disabled.ID))
	broken := k.create(t, "broken")
	for _, username := range []string{"ada", "nobody", "nobody@example.org", "a b", "grace"} {
		counting.verified = 0
		_, err := k.VerifyPassword(t.Context(), username, "wrong")
		require.ErrorIs(t, err, store.ErrCredentials)
		assert.Equal(t, 1, counting.verified, username)
	}
	for _, hash := range []string{"rubbish", "$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"} {
		require.NoError(t, k.backend.Update(t.Context(), broken.ID, func(a *store.Account) error {
			a.PasswordHash = hash
			return nil
		}))
		counting.verified = 0
		_, err := k.VerifyPassword(t.Context(), "broken", "wrong")
		var failed *store.CredentialsError
		require.ErrorAs(t, err, &failed)
		assert.Error(t, failed.Err, "the log is told")
		assert.Equal(t, 1, counting.verified)
	}
}

// lookedUpBackend counts look-ups by name and e-mail.
type lookedUpBackend struct {
	store.Backend
	looks int
}

func (b *lookedUpBackend) FindByName(ctx context.Context, name string) (*store.Account, error) {
	b.looks++
	return b.Backend.FindByName(ctx, name)
}

func (b *lookedUpBackend) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	b.looks++
	return b.Backend.FindByEmail(ctx, emailKey)
}

// TestRefusedWithoutHashRefusedWithoutLookUp checks refusals for which no hash is computed.
// They must not take longer for a name that exists, so nothing may be looked up either.
func TestRefusedWithoutHashRefusedWithoutLookUp(t *testing.T) {
	backend := &lookedUpBackend{Backend: memstore.New()}
	k := newKit(t, store.Config{Backend: backend})
	k.create(t, "ada")
	for name, pass := range map[string]string{"not UTF-8": "\xff", "too long": strings.Repeat("x", 1025), "too long in NFC": strings.Repeat("\u0958", 341), "empty": ""} {
		for _, username := range []string{"ada", "ada@example.org", "nobody"} {
			_, err := k.VerifyPassword(t.Context(), username, pass)
			require.ErrorIs(t, err, store.ErrCredentials, name)
		}
	}
	busy := newKit(t, store.Config{Backend: backend, Passwords: overloaded{}})
	_, err := busy.VerifyPassword(t.Context(), "ada", secret)
	require.ErrorIs(t, err, store.ErrUnavailable)
	assert.Zero(t, backend.looks)
}

// TestOverloadedHasherIsUnavailable checks that each call that needs a hash returns the same error.
func TestOverloadedHasherIsUnavailable(t *testing.T) {
	backend := memstore.New()
	account := newKit(t, store.Config{Backend: backend}).create(t, "ada")
	k := newKit(t, store.Config{Backend: backend, Passwords: overloaded{}})
	ctx := t.Context()
	for name, err := range map[string]error{
		"known name":      second(k.VerifyPassword(ctx, "ada", secret)),
		"unknown name":    second(k.VerifyPassword(ctx, "nobody", secret)),
		"create":          second(k.Create(ctx, store.NewAccount{Name: "x", Email: "x@example.org", Password: secret})),
		"set password":    k.SetPassword(ctx, account.ID, newSecret),
		"change password": k.changePassword(ctx, account.ID, secret, newSecret),
	} {
		assert.ErrorIs(t, err, store.ErrUnavailable, name)
		assert.ErrorIs(t, err, password.ErrOverloaded, name)
	}
}

type overloaded struct{}

func (overloaded) Hash(context.Context, string) (string, error) { return "", password.ErrOverloaded }
func (overloaded) Verify(context.Context, string, func() (string, error)) (bool, bool, error) {
	return false, false, password.ErrOverloaded
}

// TestHasherMayRefuseAPassword uses a hasher that takes at most 72 bytes, like bcrypt.
func TestHasherMayRefuseAPassword(t *testing.T) {
	k := newKit(t, store.Config{Passwords: shortHasher{}})
	ctx := t.Context()
	account := k.create(t, "ada")
	long := strings.Repeat(secret+" ", 3) // the policy has nothing against it
	for name, err := range map[string]error{
		"set password":    k.SetPassword(ctx, account.ID, long),
		"change password": k.changePassword(ctx, account.ID, secret, long),
		"create":          second(k.Create(ctx, store.NewAccount{Name: "x", Email: "x@example.org", Password: long})),
	} {
		assert.ErrorIs(t, err, store.ErrInvalid, name)
		assert.ErrorContains(t, err, "72 bytes", name)
		assert.NotErrorIs(t, err, store.ErrUnavailable, name)
	}
}

type shortHasher struct{}

func (shortHasher) Hash(_ context.Context, pass string) (string, error) {
	if len(pass) > 72 {
		return "", &store.InvalidError{Field: "password", Reason: "must be at most 72 bytes"}
	}
	return "hash of " + pass, nil
}

func (shortHasher) Verify(_ context.Context, pass string, stored func() (string, error)) (bool, bool, error) {
	hash, err := stored()
	return hash == "hash of "+pass, false, err
}

// silentHasher calls every password right, and does not ask for the stored hash.
type silentHasher struct{ shortHasher }

func (silentHasher) Verify(context.Context, string, func() (string, error)) (bool, bool, error) {
	return true, false, nil
}

func TestHasherThatAsksForNoHashLetsNobodyIn(t *testing.T) {
	k := newKit(t, store.Config{Passwords: silentHasher{}})
	account := k.create(t, "ada")
	_, err := k.VerifyPassword(t.Context(), "ada", secret)
	assert.ErrorIs(t, err, store.ErrUnavailable)
	assert.ErrorIs(t, k.changePassword(t.Context(), account.ID, secret, newSecret), store.ErrUnavailable)
}

// TestLoginIsUnfamiliarWithoutLiveSessionLikeIt: the owner is told of a login from a client or a
// network that no live session has.
func TestLoginIsUnfamiliarWithoutLiveSessionLikeIt(t *testing.T) {
	k := newLifeKit(t, store.Config{RefreshTTL: time.Hour})
	k.create(t, "ada")
	for _, login := range []struct {
		what, client, address string
		after                 time.Duration
		unfamiliar            bool
	}{
		{"first", "web", "192.0.2.1", 0, true},
		{"the same again", "web", "192.0.2.1", 0, false},
		{"another client", "app", "192.0.2.1", 0, true},
		{"another address", "web", "192.0.2.2", 0, true},
		{"another network", "web", "2001:db8:0:1::1", 0, true},
		{"the same network", "web", "2001:db8:0:1::2", 0, false},
		{"at the last moment of its session", "web", "192.0.2.1", time.Hour - time.Millisecond, false},
		{"after all earlier sessions", "app", "192.0.2.1", time.Millisecond, true},
	} {
		k.now = k.now.Add(login.after)
		state, err := k.Login(t.Context(), store.Login{
			Username: "ada", Password: secret, Address: login.address,
			Session: store.NewSession{ClientID: login.client, Address: login.address, UserAgent: "Firefox"},
		})
		require.NoError(t, err)
		assert.Equal(t, login.unfamiliar, state.Unfamiliar, login.what)
		if !login.unfamiliar {
			assert.Empty(t, k.take(), login.what)
			continue
		}
		assert.Equal(t, store.Mail{
			Kind: store.MailNewLogin, To: "ada@example.org", Account: "ada", Time: k.now,
			Address: login.address, ClientID: login.client, UserAgent: "Firefox",
		}, k.mail(t, store.MailNewLogin), login.what)
	}
}
