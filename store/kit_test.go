package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/password"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Passwords that the policy accepts.
const (
	secret    = "nine-kettles-sing-at-noon"
	newSecret = "ten-lanterns-drift-by-dusk"
)

// kit is an account service over a memory store. Its clock can be set, and its hashes are
// cheap.
type kit struct {
	*store.Accounts
	backend store.Backend
	now     time.Time
}

func newKit(t testing.TB, config store.Config) *kit {
	t.Helper()
	k := &kit{backend: config.Backend, now: epoch}
	if k.backend == nil {
		k.backend = memstore.New()
	}
	config.Backend = k.backend
	config.Now = func() time.Time { return k.now }
	if config.Passwords == nil {
		hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
		require.NoError(t, err)
		config.Passwords = hasher
	}
	var err error
	k.Accounts, err = store.NewAccounts(config)
	require.NoError(t, err)
	return k
}

func (k *kit) create(t testing.TB, name string) *store.Account {
	t.Helper()
	account, err := k.Create(t.Context(), store.NewAccount{Name: name, Email: name + "@example.org", Password: secret})
	require.NoError(t, err)
	return account
}

func (k *kit) changePassword(ctx context.Context, id store.ID, current, wanted string) error {
	_, err := k.ChangePassword(ctx, id, current, wanted, store.NewSession{ClientID: "app"})
	return err
}

func (k *kit) find(t testing.TB, id store.ID) *store.Account {
	t.Helper()
	account, err := k.FindByID(t.Context(), id)
	require.NoError(t, err)
	return account
}

// backendFind reads from the backend, without the rules of the account service.
func (k *kit) backendFind(t testing.TB, id store.ID) *store.Account {
	t.Helper()
	account, err := k.backend.FindByID(t.Context(), id)
	require.NoError(t, err)
	return account
}

// login starts a session and returns the claims of its first tokens.
func (k *kit) login(t testing.TB, account *store.Account) store.SessionRef {
	t.Helper()
	state, err := k.StartSession(t.Context(), k.find(t, account.ID), store.NewSession{ClientID: "app"})
	require.NoError(t, err)
	return store.SessionRef{AccountID: account.ID, SessionID: state.Session.ID, Generation: 1}
}

func (k *kit) session(t testing.TB, ref store.SessionRef) store.Session {
	t.Helper()
	for _, session := range k.find(t, ref.AccountID).Sessions {
		if session.ID == ref.SessionID {
			return session
		}
	}
	t.Fatal("no such session")
	return store.Session{}
}
