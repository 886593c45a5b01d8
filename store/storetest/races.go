package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/password"
)

// What follows are rules of store.Accounts that hold only if the backend keeps
// its promises under concurrency.

func newAccounts(t *testing.T, config store.Config) *store.Accounts {
	t.Helper()
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	config.Passwords = hasher
	accounts, err := store.NewAccounts(config)
	require.NoError(t, err)
	return accounts
}

// testRefreshRace: of 64 refreshes at once with one token exactly one moves the
// generation; with a reuse interval nobody is refused.
func testRefreshRace(t *testing.T, backend store.Backend) {
	const callers = 64
	ctx := t.Context()
	accounts := newAccounts(t, store.Config{Backend: backend, Now: func() time.Time { return epoch }})
	account, err := accounts.Create(ctx, store.NewAccount{Name: "ada", Email: "ada@example.org", NoPassword: true})
	require.NoError(t, err)
	started, err := accounts.StartSession(ctx, account, store.NewSession{ClientID: "test"})
	require.NoError(t, err)

	for generation := int64(1); generation <= 3; generation++ {
		ref := store.SessionRef{AccountID: account.ID, SessionID: started.Session.ID, Generation: generation}
		states := make([]*store.SessionState, callers)
		errs := together(callers, func(i int) error {
			var err error
			states[i], err = accounts.RefreshSession(ctx, ref, store.Lifetimes{})
			return err
		})
		rotated := 0
		for i, err := range errs {
			require.NoError(t, err)
			assert.Equal(t, generation+1, states[i].Session.Generation)
			if !states[i].Replayed {
				rotated++
			}
		}
		assert.Equal(t, 1, rotated)
	}

	strict := newAccounts(t, store.Config{
		Backend: backend, ReuseInterval: store.Off, LostReplyWindow: store.Off,
		Now: func() time.Time { return epoch },
	})
	ref := store.SessionRef{AccountID: account.ID, SessionID: started.Session.ID, Generation: 4}
	succeeded := 0
	for _, err := range together(callers, func(int) error {
		_, err := strict.RefreshSession(ctx, ref, store.Lifetimes{})
		return err
	}) {
		if err == nil {
			succeeded++
			continue
		}
		assert.True(t, errors.Is(err, store.ErrRefreshReused) || errors.Is(err, store.ErrSessionEnded), "got %v", err)
	}
	assert.Equal(t, 1, succeeded, "strict: one caller gets the new generation")
	sessions, err := accounts.Sessions(ctx, account.ID)
	require.NoError(t, err)
	assert.Empty(t, sessions, "strict: the others end the session")
}

// testLoginRaces: a login that runs beside a change of the password, or beside a
// disabling, leaves no session behind that the change should have ended, nor the
// old password.
func testLoginRaces(t *testing.T, backend store.Backend) {
	ctx := context.WithoutCancel(t.Context())
	accounts := newAccounts(t, store.Config{Backend: backend})
	for name, end := range map[string]func(store.ID) error{
		"password": func(id store.ID) error { return accounts.SetPassword(ctx, id, "new") },
		"disable":  func(id store.ID) error { return accounts.Disable(ctx, id) },
		"remove":   func(id store.ID) error { return accounts.Remove(ctx, id) },
	} {
		for round := range 8 {
			login := fmt.Sprint(name, round)
			account, err := accounts.Create(ctx, store.NewAccount{Name: login, Email: login + "@example.org", Password: "old"})
			require.NoError(t, err)
			errs := together(5, func(i int) error {
				if i == 0 {
					return end(account.ID)
				}
				_, err := accounts.Login(ctx, store.Login{Username: login, Password: "old", Session: store.NewSession{ClientID: "test"}})
				return err
			})
			require.NoError(t, errs[0])
			for _, err := range errs[1:] {
				if err != nil {
					assert.ErrorIs(t, err, store.ErrCredentials)
				}
			}
			if sessions, err := accounts.Sessions(ctx, account.ID); name != "remove" {
				require.NoError(t, err)
				assert.Empty(t, sessions, "%s: a session is left", name)
			}
			_, err = accounts.VerifyPassword(ctx, login, "old")
			assert.ErrorIs(t, err, store.ErrCredentials, "%s: the old password is left", name)
		}
	}
}

// sessionsInUse is an account with sessions whose next accepted access token writes
// the mark that the generation is in use.
func sessionsInUse(t *testing.T, accounts *store.Accounts, name string, sessions int) (refs []store.SessionRef) {
	t.Helper()
	account, err := accounts.Create(t.Context(), store.NewAccount{Name: name, Email: name + "@example.org", NoPassword: true})
	require.NoError(t, err)
	for range sessions {
		started, err := accounts.StartSession(t.Context(), account, store.NewSession{ClientID: "test"})
		require.NoError(t, err)
		ref := store.SessionRef{AccountID: account.ID, SessionID: started.Session.ID, Generation: 1}
		_, err = accounts.RefreshSession(t.Context(), ref, store.Lifetimes{})
		require.NoError(t, err)
		ref.Generation++
		refs = append(refs, ref)
	}
	return refs
}

const (
	raceRounds   = 8
	raceSessions = 4
)

// beside runs end beside a refresh and an accepted access token of each session.
// Those may succeed or be refused; end must succeed.
func beside(t *testing.T, accounts *store.Accounts, refs []store.SessionRef, end func() error) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	errs := together(1+2*len(refs), func(i int) error {
		if i == 0 {
			return end()
		}
		var err error
		if ref := refs[(i-1)/2]; i%2 == 0 {
			_, err = accounts.RefreshSession(ctx, ref, store.Lifetimes{})
		} else {
			_, err = accounts.FindBySession(ctx, ref)
		}
		return err
	})
	require.NoError(t, errs[0])
	for _, err := range errs[1:] {
		assert.True(t, err == nil || store.Refused(err), "got %v", err)
	}
}

// testDisableRace: refreshes and marks that run beside the disabling of their
// account do not enable it again, nor bring a session back.
func testDisableRace(t *testing.T, backend store.Backend) {
	accounts := newAccounts(t, store.Config{Backend: backend})
	for round := range raceRounds {
		refs := sessionsInUse(t, accounts, fmt.Sprint("ada", round), raceSessions)
		id := refs[0].AccountID
		beside(t, accounts, refs, func() error { return accounts.Disable(context.WithoutCancel(t.Context()), id) })
		account := find(t, backend, id)
		assert.True(t, account.Disabled, "the account came back to life")
		assert.Empty(t, account.Sessions, "a session came back to life")
	}
}

// testRevokeRace: refreshes and marks of a session, and of others of its account,
// that run beside its end do not bring it back, and the others live on.
func testRevokeRace(t *testing.T, backend store.Backend) {
	accounts := newAccounts(t, store.Config{Backend: backend})
	for round := range raceRounds {
		refs := sessionsInUse(t, accounts, fmt.Sprint("ada", round), raceSessions)
		ended := refs[0]
		beside(t, accounts, refs, func() error {
			return accounts.EndSession(context.WithoutCancel(t.Context()), ended.AccountID, ended.SessionID)
		})
		_, err := accounts.FindBySession(t.Context(), ended)
		assert.ErrorIs(t, err, store.ErrSessionEnded, "the session came back to life")
		sessions, err := accounts.Sessions(t.Context(), ended.AccountID)
		require.NoError(t, err)
		assert.Len(t, sessions, raceSessions-1)
		for _, session := range sessions {
			assert.Equal(t, int64(3), session.Generation, "an answered refresh was lost")
		}
	}
}
