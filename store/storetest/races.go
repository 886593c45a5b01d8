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

// The tests of this file check rules of store.Accounts. They hold only if the backend
// keeps its promises under concurrency.

func newAccounts(t *testing.T, config store.Config) *store.Accounts {
	t.Helper()
	hasher, err := password.New(password.Config{Memory: 8, Iterations: 1})
	require.NoError(t, err)
	config.Passwords = hasher
	accounts, err := store.NewAccounts(config)
	require.NoError(t, err)
	return accounts
}

// refreshers is how many callers present one refresh token at once.
const refreshers = 64

// startSession starts a session of a new account.
func startSession(t *testing.T, accounts *store.Accounts) store.SessionRef {
	t.Helper()
	account, err := accounts.Create(t.Context(), store.NewAccount{Name: "ada", Email: "ada@example.org", NoPassword: true})
	require.NoError(t, err)
	started, err := accounts.StartSession(t.Context(), account, store.NewSession{ClientID: "test"})
	require.NoError(t, err)
	return store.SessionRef{AccountID: account.ID, SessionID: started.Session.ID, Generation: started.Session.Generation}
}

// refreshTogether presents one refresh token many times at once. It requires that
// nobody is refused.
func refreshTogether(t *testing.T, accounts *store.Accounts, ref store.SessionRef) []*store.SessionState {
	t.Helper()
	states := make([]*store.SessionState, refreshers)
	for _, err := range together(refreshers, func(i int) error {
		var err error
		states[i], err = accounts.RefreshSession(t.Context(), ref, store.Lifetimes{})
		return err
	}) {
		require.NoError(t, err)
	}
	return states
}

// testRefreshRace checks that of many refreshes at once with one token exactly one moves
// the generation. With a reuse interval nobody is refused.
func testRefreshRace(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	accounts := newAccounts(t, store.Config{Backend: backend, Now: func() time.Time { return epoch }})
	ref := startSession(t, accounts)
	for range 3 {
		rotated := 0
		for _, state := range refreshTogether(t, accounts, ref) {
			assert.Equal(t, ref.Generation+1, state.Session.Generation)
			assert.False(t, state.Recovered)
			if !state.Replayed {
				rotated++
			}
		}
		assert.Equal(t, 1, rotated)
		ref.Generation++
	}

	strict := newAccounts(t, store.Config{
		Backend: backend, ReuseInterval: store.Off, LostReplyWindow: store.Off,
		Now: func() time.Time { return epoch },
	})
	succeeded := 0
	for _, err := range together(refreshers, func(int) error {
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
	sessions, err := accounts.Sessions(ctx, ref.AccountID)
	require.NoError(t, err)
	assert.Empty(t, sessions, "strict: the others end the session")
}

// testLateRetryRace checks late retries. A client loses the reply to a refresh, and tries
// again when the reuse interval is over, many times at once. Exactly one try moves the
// generation, and nobody is refused.
func testLateRetryRace(t *testing.T, backend store.Backend) {
	now := epoch
	accounts := newAccounts(t, store.Config{
		Backend: backend, ReuseInterval: 10 * time.Second, LostReplyWindow: time.Hour,
		Now: func() time.Time { return now },
	})
	ref := startSession(t, accounts)
	_, err := accounts.RefreshSession(t.Context(), ref, store.Lifetimes{})
	require.NoError(t, err) // the reply is lost: nobody uses generation 2
	for lost := int64(2); lost <= 4; lost++ {
		now = now.Add(10*time.Second + time.Millisecond)
		recovered := 0
		for _, state := range refreshTogether(t, accounts, ref) {
			assert.Equal(t, lost+1, state.Session.Generation)
			assert.NotEqual(t, state.Recovered, state.Replayed, "a caller gets the one or the other")
			if state.Recovered {
				recovered++
			}
		}
		assert.Equal(t, 1, recovered)
		sessions, err := accounts.Sessions(t.Context(), ref.AccountID)
		require.NoError(t, err)
		require.Len(t, sessions, 1)
		assert.Equal(t, lost+1, sessions[0].Generation, "the generation moves by exactly one")
		assert.Equal(t, ref.Generation, sessions[0].Proven())
	}
}

// testLoginRaces runs logins while the password of the account changes, or while the
// account is disabled or removed. Afterwards no session is left that the change should
// have ended, and the old password does not work.
func testLoginRaces(t *testing.T, backend store.Backend) {
	ctx := context.WithoutCancel(t.Context())
	accounts := newAccounts(t, store.Config{Backend: backend})
	for name, end := range map[string]func(store.ID) error{
		"password": func(id store.ID) error { return accounts.SetPassword(ctx, id, "ten-lanterns-drift-by-dusk") },
		"disable":  func(id store.ID) error { return accounts.Disable(ctx, id) },
		"remove":   func(id store.ID) error { return accounts.Remove(ctx, id) },
	} {
		for round := range 8 {
			login := fmt.Sprint(name, round)
			account, err := accounts.Create(ctx, store.NewAccount{Name: login, Email: login + "@example.org", Password: "nine-kettles-sing-at-noon"})
			require.NoError(t, err)
			errs := together(5, func(i int) error {
				if i == 0 {
					return end(account.ID)
				}
				_, err := accounts.Login(ctx, store.Login{Username: login, Password: "nine-kettles-sing-at-noon", Session: store.NewSession{ClientID: "test"}})
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
			_, err = accounts.VerifyPassword(ctx, login, "nine-kettles-sing-at-noon")
			assert.ErrorIs(t, err, store.ErrCredentials, "%s: the old password is left", name)
		}
	}
}

// sessionsInUse makes an account with refreshed sessions. The next access token of each
// session marks the generation as used, which is a write.
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

// raceAgainst runs end, and at the same time a refresh and an access token of each
// session. end must succeed. The others may succeed or be refused.
func raceAgainst(t *testing.T, accounts *store.Accounts, refs []store.SessionRef, end func() error) {
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

// testDisableRace checks that refreshes and marks that run while their account is disabled
// neither enable it again nor bring a session back.
func testDisableRace(t *testing.T, backend store.Backend) {
	accounts := newAccounts(t, store.Config{Backend: backend})
	for round := range raceRounds {
		refs := sessionsInUse(t, accounts, fmt.Sprint("ada", round), raceSessions)
		id := refs[0].AccountID
		raceAgainst(t, accounts, refs, func() error { return accounts.Disable(context.WithoutCancel(t.Context()), id) })
		account := find(t, backend, id)
		assert.True(t, account.Disabled, "the account came back to life")
		assert.Empty(t, account.Sessions, "a session came back to life")
	}
}

// testRevokeRace ends one session while all sessions of the account are refreshed and
// marked. The session does not come back, and the others stay alive.
func testRevokeRace(t *testing.T, backend store.Backend) {
	accounts := newAccounts(t, store.Config{Backend: backend})
	for round := range raceRounds {
		refs := sessionsInUse(t, accounts, fmt.Sprint("ada", round), raceSessions)
		ended := refs[0]
		raceAgainst(t, accounts, refs, func() error {
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
