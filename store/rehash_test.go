package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
)

// TestRightPasswordStaysRight checks many logins at once after the costs were raised. Each
// login finds that another one has replaced the hash that it verified.
func TestRightPasswordStaysRight(t *testing.T) {
	backend := memstore.New()
	account := newKit(t, store.Config{Backend: backend}).create(t, "ada")
	stronger, err := password.New(password.Config{Memory: 16, Iterations: 2})
	require.NoError(t, err)
	k := newKit(t, store.Config{Backend: backend, Passwords: stronger})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, err := k.Login(t.Context(), store.Login{Username: "ada", Password: secret, Session: store.NewSession{ClientID: "app"}})
			assert.NoError(t, err)
		})
	}
	all.Wait()
	assert.Len(t, k.find(t, account.ID).Sessions, 8)
}

// replacingHasher does something after it has verified a hash, before the caller uses the
// result.
type replacingHasher struct {
	store.PasswordHasher
	meanwhile func()
}

func (h *replacingHasher) Verify(ctx context.Context, pass string, stored func() (string, error)) (bool, bool, error) {
	match, outdated, err := h.PasswordHasher.Verify(ctx, pass, stored)
	h.meanwhile()
	return match, outdated, err
}

// TestLoginLooksAgain checks an account that gets another hash just after a login has
// verified the old one. The new hash decides, and stays: an outdated hash is not replaced if
// the password is no longer that of the account, or the account is disabled.
func TestLoginLooksAgain(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*kit, store.ID) error
		want      error
	}{
		"the same password, hashed anew": {func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, secret) }, nil},
		"another password":               {func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, newSecret) }, store.ErrCredentials},
		"disabled":                       {func(k *kit, id store.ID) error { return k.Disable(context.Background(), id) }, store.ErrCredentials},
		"removed":                        {func(k *kit, id store.ID) error { return k.Remove(context.Background(), id) }, store.ErrCredentials},
	} {
		for _, outdated := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", outdated ", outdated), func(t *testing.T) {
				old := newKit(t, store.Config{})
				account := old.create(t, "ada")
				costs := password.Config{Memory: 8, Iterations: 1}
				if outdated {
					costs.Iterations = 2
				}
				hasher, err := password.New(costs)
				require.NoError(t, err)
				var left *store.Account // what the other call has left
				once := false
				k := newKit(t, store.Config{Backend: old.backend, Passwords: &replacingHasher{hasher, func() {
					if !once {
						once = true
						assert.NoError(t, test.meanwhile(old, account.ID))
						left, _ = old.FindByID(context.Background(), account.ID)
					}
				}}})
				approved := 0
				_, err = k.Login(t.Context(), store.Login{
					Username: "ada", Password: secret, Session: store.NewSession{ClientID: "app"},
					Approve: func(context.Context, *store.Account) error { approved++; return nil },
				})
				assert.ErrorIs(t, err, test.want)
				if test.want == nil {
					assert.Equal(t, 1, approved, "asked once")
					assert.Len(t, k.find(t, account.ID).Sessions, 1)
				} else if left != nil {
					assert.Equal(t, left, k.find(t, account.ID))
				}
			})
		}
	}
}

// TestChangePasswordLooksAgain checks the same for ChangePassword. What the other call has left
// stays, unless the password is still right.
func TestChangePasswordLooksAgain(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*kit, store.ID) error
		want      error
	}{
		"the same password, hashed anew": {func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, secret) }, nil},
		"another password":               {func(k *kit, id store.ID) error { return k.SetPassword(context.Background(), id, "plum engine corner") }, store.ErrCredentials},
		"disabled":                       {func(k *kit, id store.ID) error { return k.Disable(context.Background(), id) }, store.ErrDisabled},
		"removed":                        {func(k *kit, id store.ID) error { return k.Remove(context.Background(), id) }, store.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			old := newKit(t, store.Config{})
			account := old.create(t, "ada")
			hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
			require.NoError(t, err)
			var left *store.Account
			once := false
			k := newKit(t, store.Config{Backend: old.backend, Passwords: &replacingHasher{hasher, func() {
				if !once {
					once = true
					assert.NoError(t, test.meanwhile(old, account.ID))
					left, _ = old.FindByID(context.Background(), account.ID)
				}
			}}})
			err = k.changePassword(t.Context(), account.ID, secret, newSecret)
			assert.ErrorIs(t, err, test.want)
			if test.want == nil {
				_, err = k.VerifyPassword(t.Context(), "ada", newSecret)
				assert.NoError(t, err)
			} else if left != nil {
				assert.Equal(t, left, k.find(t, account.ID))
			}
		})
	}
}

// TestLostReplyToARehashCostsNoSecondCheck: the hash that is found is the one that was made.
func TestLostReplyToARehashCostsNoSecondCheck(t *testing.T) {
	backend := memstore.New()
	newKit(t, store.Config{Backend: backend}).create(t, "ada")
	stronger, err := password.New(password.Config{Memory: 16, Iterations: 2})
	require.NoError(t, err)
	counting := &countingHasher{Hasher: stronger}
	k := newKit(t, store.Config{Backend: forgetfulBackend{backend}, Passwords: counting})
	account, err := k.VerifyPassword(t.Context(), "ada", secret)
	require.NoError(t, err)
	assert.Equal(t, 1, counting.verified)
	assert.Equal(t, k.find(t, account.ID), account)
}

func TestLoginUpgradesHash(t *testing.T) {
	backend := memstore.New()
	old := newKit(t, store.Config{Backend: backend})
	account := old.create(t, "ada")
	stronger, err := password.New(password.Config{Memory: 16, Iterations: 2})
	require.NoError(t, err)
	k := newKit(t, store.Config{Backend: backend, Passwords: stronger})

	_, err = k.VerifyPassword(t.Context(), "ada", "wrong")
	require.ErrorIs(t, err, store.ErrCredentials)
	assert.Equal(t, account.PasswordHash, k.find(t, account.ID).PasswordHash)
	proven, err := k.VerifyPassword(t.Context(), "ada", secret)
	require.NoError(t, err)
	stored := k.find(t, account.ID)
	assert.Contains(t, stored.PasswordHash, "m=16,t=2,p=1")
	assert.Equal(t, stored.PasswordHash, proven.PasswordHash)
	_, err = k.StartSession(t.Context(), proven, store.NewSession{ClientID: "app"})
	require.NoError(t, err)
	_, err = k.VerifyPassword(t.Context(), "ada", secret)
	require.NoError(t, err)
	assert.Equal(t, stored.PasswordHash, k.find(t, account.ID).PasswordHash)
}

// TestHashStaysIfItCannotBeReplaced: the password was right, so the login succeeds.
func TestHashStaysIfItCannotBeReplaced(t *testing.T) {
	k := newKit(t, store.Config{Passwords: &formHasher{}})
	account := k.create(t, "ada")
	failing := newKit(t, store.Config{Backend: k.backend, Passwords: hashlessHasher{&formHasher{}}})
	proven, err := failing.VerifyPassword(t.Context(), "ada", secret)
	require.NoError(t, err)
	assert.Equal(t, account, proven)
	assert.Equal(t, account, k.find(t, account.ID))
}

// hashlessHasher verifies, and has no room for a new hash.
type hashlessHasher struct{ *formHasher }

func (hashlessHasher) Hash(context.Context, string) (string, error) {
	return "", password.ErrOverloaded
}

func TestStartSessionNeedsFreshProof(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account := k.create(t, "ada")
	start := func(proof *store.Account) error {
		_, err := k.StartSession(ctx, proof, store.NewSession{ClientID: "app"})
		return err
	}
	require.NoError(t, start(account))
	require.NoError(t, k.SetPassword(ctx, account.ID, secret)) // the same password with a new hash
	assert.ErrorIs(t, start(account), store.ErrCredentials)
	account = k.find(t, account.ID)
	require.NoError(t, k.Disable(ctx, account.ID))
	assert.ErrorIs(t, start(account), store.ErrDisabled)
	require.NoError(t, k.Enable(ctx, account.ID))
	assert.NoError(t, start(account))
	require.NoError(t, k.Remove(ctx, account.ID))
	assert.ErrorIs(t, start(account), store.ErrNotFound)
}

// TestHashThatNeverRestsIsAnOutage: two processes with different costs may replace each
// other's hash at each login. The right password is not called wrong for that, nor counted.
func TestHashThatNeverRestsIsAnOutage(t *testing.T) {
	for _, outdated := range []bool{false, true} {
		old := newKit(t, store.Config{})
		account := old.create(t, "ada")
		costs := password.Config{Memory: 8, Iterations: 1}
		if outdated {
			costs.Iterations = 2
		}
		hasher, err := password.New(costs)
		require.NoError(t, err)
		k := newKit(t, store.Config{Backend: old.backend, Passwords: &replacingHasher{hasher, func() {
			assert.NoError(t, old.SetPassword(context.Background(), account.ID, secret))
		}}})
		for range 12 {
			_, err = k.Login(t.Context(), store.Login{Username: "ada", Password: secret, Session: store.NewSession{ClientID: "app"}})
			assert.ErrorIs(t, err, store.ErrUnavailable)
			assert.NotErrorIs(t, err, store.ErrCredentials)
			err = k.changePassword(t.Context(), account.ID, secret, newSecret)
			assert.ErrorIs(t, err, store.ErrUnavailable)
			assert.NotErrorIs(t, err, store.ErrCredentials)
		}
		assert.Empty(t, k.find(t, account.ID).Sessions)
	}
}
