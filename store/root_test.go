package store_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestOneRootOfManyProcesses starts many processes over one empty store at once.
func TestOneRootOfManyProcesses(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		var made atomic.Int64
		var password atomic.Pointer[string]
		begin := make(chan struct{})
		var all sync.WaitGroup
		for range 8 {
			accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: middlewaretest.Hasher()})
			require.NoError(t, err)
			all.Go(func() {
				<-begin
				root, err := accounts.EnsureRoot(t.Context(), "root", "root@localhost", "")
				assert.NoError(t, err)
				if root.Created {
					made.Add(1)
					password.Store(&root.Password)
				} else {
					assert.Zero(t, root)
				}
			})
		}
		close(begin)
		all.Wait()
		require.EqualValues(t, 1, made.Load())
		accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: middlewaretest.Hasher()})
		require.NoError(t, err)
		page, err := accounts.List(t.Context(), store.Listing{})
		require.NoError(t, err)
		require.Len(t, page.Accounts, 1)
		_, err = accounts.VerifyPassword(t.Context(), "root", *password.Load())
		assert.NoError(t, err, "the password that was printed")
	})
}

// TestRootNeedsAnEmptyStore checks that any account at all stands against a new administrator, even
// if nobody can log in with it, and even if there is no administrator.
func TestRootNeedsAnEmptyStore(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: middlewaretest.Hasher()})
		require.NoError(t, err)
		service, err := accounts.Create(t.Context(), store.NewAccount{Name: "service", Email: "s@example.org", NoPassword: true, Disabled: true})
		require.NoError(t, err)
		root, err := accounts.EnsureRoot(t.Context(), "root", "root@localhost", "")
		require.NoError(t, err)
		assert.Zero(t, root)
		_, err = accounts.FindByName(t.Context(), "root")
		assert.ErrorIs(t, err, store.ErrNotFound)

		require.NoError(t, accounts.Remove(t.Context(), service.ID))
		root, err = accounts.EnsureRoot(t.Context(), "root", "root@localhost", "")
		require.NoError(t, err)
		assert.True(t, root.Created, "empty again")
	})
}

// TestAdministratorBeyondTheFirstPage has more disabled administrators than fit on a page before
// the one that is enabled.
func TestAdministratorBeyondTheFirstPage(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: middlewaretest.Hasher()})
		require.NoError(t, err)
		create := func(id int, disabled bool) store.ID {
			account, err := accounts.Create(context.Background(), store.NewAccount{
				ID: store.ID{10: byte(id >> 8), 11: byte(id)}, Name: store.NewID().Hex(), Email: store.NewID().Hex() + "@example.org",
				NoPassword: true, Disabled: disabled, Groups: []string{store.AdminGroup},
			})
			require.NoError(t, err)
			return account.ID
		}
		first := create(1, false)
		for id := range 200 { // two whole pages with the first
			create(2+id, true)
		}
		assert.ErrorIs(t, accounts.Remove(t.Context(), first), store.ErrLastAdmin)
		last := create(1000, false)
		require.NoError(t, accounts.Remove(t.Context(), first))
		assert.ErrorIs(t, accounts.Disable(t.Context(), last), store.ErrLastAdmin)
	})
}

// TestOutageMakesNoRoot: neither one of the store, which may hold accounts, nor one of the policy.
func TestOutageMakesNoRoot(t *testing.T) {
	backend := &failingBackend{Backend: memstore.New()}
	refuse := func(context.Context, string) error { return store.ErrUnavailable }
	for name, k := range map[string]*kit{
		"store":  newKit(t, store.Config{Backend: backend}),
		"policy": newKit(t, store.Config{PasswordPolicy: store.PasswordPolicy{Refuse: refuse}}),
	} {
		backend.failNext("List")
		root, err := k.EnsureRoot(t.Context(), "root", "root@localhost", secret)
		assert.ErrorIs(t, err, store.ErrUnavailable, name)
		assert.Zero(t, root, name)
		page, err := k.List(t.Context(), store.Listing{})
		require.NoError(t, err)
		assert.Empty(t, page.Accounts, name)
	}
}
