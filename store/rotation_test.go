package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestRotationTable goes through the table row by row. In each case the session
// is at generation 3, reached at epoch; then the clock moves and a token of some
// generation is presented.
func TestRotationTable(t *testing.T) {
	const (
		rotates = iota
		replays
		isReuse
	)
	strict := store.Config{ReuseInterval: store.Off, LostReplyWindow: store.Off}
	window := store.Config{LostReplyWindow: time.Minute}
	for name, test := range map[string]struct {
		config    store.Config
		presented int64
		after     time.Duration
		used      bool
		want      int
	}{
		"current at once":                      {presented: 3, want: rotates},
		"current late":                         {presented: 3, after: time.Hour, want: rotates},
		"current used":                         {presented: 3, after: time.Hour, used: true, want: rotates},
		"current, strict":                      {config: strict, presented: 3, want: rotates},
		"one before at once":                   {presented: 2, want: replays},
		"one before at once, used":             {presented: 2, used: true, want: replays},
		"one before at the end of interval":    {presented: 2, after: 10 * time.Second, used: true, want: replays},
		"one before after the interval, used":  {presented: 2, after: 10*time.Second + time.Millisecond, used: true, want: isReuse},
		"one before, clock went back":          {presented: 2, after: -time.Hour, used: true, want: replays},
		"one before late, unused":              {presented: 2, after: 24 * time.Hour, want: replays},
		"one before at the end of the window":  {config: window, presented: 2, after: time.Minute, want: replays},
		"one before after the window":          {config: window, presented: 2, after: time.Minute + time.Millisecond, want: isReuse},
		"one before in the window, used":       {config: window, presented: 2, after: 30 * time.Second, used: true, want: isReuse},
		"one before at once, strict":           {config: strict, presented: 2, want: isReuse},
		"one before, strict, clock went back":  {config: strict, presented: 2, after: -time.Hour, want: isReuse},
		"one before, strict but for the reply": {config: store.Config{ReuseInterval: store.Off}, presented: 2, want: replays},
		"same, used":                           {config: store.Config{ReuseInterval: store.Off}, presented: 2, used: true, want: isReuse},
		"two before at once":                   {presented: 1, want: isReuse},
		"two before, clock went back":          {presented: 1, after: -time.Hour, want: isReuse},
		"from the future":                      {presented: 4, want: isReuse},
		"from before the first":                {presented: 0, want: isReuse},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, test.config)
			ref := k.login(t, k.create(t, "ada"))
			for ref.Generation < 3 {
				_, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
				require.NoError(t, err)
				ref.Generation++
			}
			if test.used {
				_, err := k.AuthenticateSession(t.Context(), ref)
				require.NoError(t, err)
			}
			before := k.session(t, ref)
			require.Equal(t, test.used, before.Used)

			k.now = epoch.Add(test.after)
			ref.Generation = test.presented
			state, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
			switch test.want {
			case rotates:
				require.NoError(t, err)
				assert.False(t, state.Replayed)
				after := k.session(t, ref)
				assert.Equal(t, int64(4), after.Generation)
				assert.False(t, after.Used)
				assert.Equal(t, k.now, after.Rotated)
				assert.Equal(t, k.now.Add(30*24*time.Hour), after.Expires)
				assert.Equal(t, after, state.Session)
			case replays:
				// Any number of times, and nothing is written, nothing slides.
				for range 3 {
					require.NoError(t, err)
					assert.True(t, state.Replayed)
					assert.Equal(t, before, state.Session)
					assert.Equal(t, before, k.session(t, ref))
					state, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
				}
			case isReuse:
				require.ErrorIs(t, err, store.ErrRefreshReused)
				assert.Empty(t, k.find(t, ref.AccountID).Sessions)
				for generation := int64(1); generation <= 4; generation++ {
					ref.Generation = generation
					_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
					assert.ErrorIs(t, err, store.ErrSessionEnded)
					_, err = k.AuthenticateSession(t.Context(), ref)
					assert.ErrorIs(t, err, store.ErrSessionEnded)
				}
			}
		})
	}
}

// TestStolenTokenShows: thief and owner both go on from one refresh token; the
// second of them to rotate again ends the session for both.
func TestStolenTokenShows(t *testing.T) {
	k := newKit(t, store.Config{})
	ref := k.login(t, k.create(t, "ada"))
	_, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{}) // the thief
	require.NoError(t, err)
	_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{}) // the owner, as a replay
	require.NoError(t, err)
	ref.Generation = 2
	_, err = k.AuthenticateSession(t.Context(), ref)
	require.NoError(t, err)
	k.now = k.now.Add(15 * time.Minute)
	_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{}) // one of the two goes on
	require.NoError(t, err)
	used := ref
	used.Generation = 3
	_, err = k.AuthenticateSession(t.Context(), used)
	require.NoError(t, err)
	k.now = k.now.Add(15 * time.Minute)
	_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{}) // the other
	require.ErrorIs(t, err, store.ErrRefreshReused)
}

func TestSessionExpiry(t *testing.T) {
	config := store.Config{RefreshTTL: 10 * time.Hour, SessionTTL: 24 * time.Hour}
	k := newKit(t, config)
	k.now = epoch.Add(500 * time.Millisecond)
	ref := k.login(t, k.create(t, "ada"))
	assert.Equal(t, epoch.Add(10*time.Hour), k.session(t, ref).Expires, "whole seconds, never later")

	for hours := 8; hours <= 16; hours += 8 {
		k.now = epoch.Add(time.Duration(hours) * time.Hour)
		state, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
		require.NoError(t, err)
		ref.Generation++
		want := k.now.Add(10 * time.Hour)
		if end := epoch.Add(24 * time.Hour); want.After(end) {
			want = end
		}
		assert.Equal(t, want, state.Session.Expires)
	}
	k.now = epoch.Add(24*time.Hour - time.Millisecond)
	_, err := k.AuthenticateSession(t.Context(), ref)
	require.NoError(t, err)
	k.now = epoch.Add(24 * time.Hour)
	_, err = k.AuthenticateSession(t.Context(), ref)
	assert.ErrorIs(t, err, store.ErrSessionEnded)
	_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
	assert.ErrorIs(t, err, store.ErrSessionEnded)
	sessions, err := k.Sessions(t.Context(), ref.AccountID)
	require.NoError(t, err)
	assert.Empty(t, sessions)

	endless := newKit(t, store.Config{RefreshTTL: time.Hour, SessionTTL: store.Off})
	ref = endless.login(t, endless.create(t, "ada"))
	for range 5000 {
		endless.now = endless.now.Add(59 * time.Minute)
		_, err := endless.RefreshSession(t.Context(), ref, store.Lifetimes{})
		require.NoError(t, err)
		ref.Generation++
	}
}

func TestRefreshRefusals(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	ref := k.login(t, account)
	_, err := k.RefreshSession(t.Context(), store.SessionRef{AccountID: store.NewID(), SessionID: ref.SessionID, Generation: 1}, store.Lifetimes{})
	assert.ErrorIs(t, err, store.ErrNotFound)
	_, err = k.RefreshSession(t.Context(), store.SessionRef{AccountID: ref.AccountID, SessionID: "x", Generation: 1}, store.Lifetimes{})
	assert.ErrorIs(t, err, store.ErrSessionEnded)
	require.NoError(t, k.Disable(t.Context(), account.ID))
	_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
	assert.ErrorIs(t, err, store.ErrDisabled)
}

func TestUsedMark(t *testing.T) {
	backend := &countingBackend{Backend: memstore.New()}
	k := newKit(t, store.Config{Backend: backend})
	ref := k.login(t, k.create(t, "ada"))
	authenticate := func(generation int64) {
		t.Helper()
		_, err := k.AuthenticateSession(t.Context(), store.SessionRef{AccountID: ref.AccountID, SessionID: ref.SessionID, Generation: generation})
		require.NoError(t, err)
	}
	writes := backend.updates
	authenticate(1)
	assert.Equal(t, writes, backend.updates, "no generation is before the first")

	_, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
	require.NoError(t, err)
	writes = backend.updates
	authenticate(1)
	assert.Equal(t, writes, backend.updates, "an old access token says nothing of the new generation")
	assert.False(t, k.session(t, ref).Used)

	backend.fail = true
	authenticate(2)
	assert.False(t, k.session(t, ref).Used)
	backend.fail = false
	authenticate(2)
	assert.True(t, k.session(t, ref).Used, "the next request tries again")
	writes = backend.updates
	authenticate(2)
	authenticate(2)
	assert.Equal(t, writes, backend.updates, "once")
	authenticate(3)
	assert.Equal(t, writes, backend.updates)
}

// countingBackend counts updates, and refuses them while fail is set.
type countingBackend struct {
	store.Backend
	updates int
	fail    bool
}

func (b *countingBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	b.updates++
	if b.fail {
		return store.ErrUnavailable
	}
	return b.Backend.Update(ctx, id, change)
}

// forgetfulBackend loses the reply to a write and looks again, as a backend over
// a network must: change runs a second time on what it has made itself.
type forgetfulBackend struct{ store.Backend }

func (b forgetfulBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	if err := b.Backend.Update(ctx, id, change); err != nil {
		return err
	}
	return b.Backend.Update(ctx, id, change)
}

func TestLostRepliesChangeNothingTwice(t *testing.T) {
	k := newKit(t, store.Config{
		Backend: forgetfulBackend{memstore.New()}, ReuseInterval: store.Off, LostReplyWindow: store.Off,
	})
	ctx := t.Context()
	account := k.create(t, "ada")
	ref := k.login(t, account)
	assert.Len(t, k.find(t, account.ID).Sessions, 1)
	state, err := k.RefreshSession(ctx, ref, store.Lifetimes{})
	require.NoError(t, err)
	assert.Equal(t, int64(2), state.Session.Generation)
	assert.False(t, state.Replayed)
	assert.Equal(t, int64(2), k.session(t, ref).Generation)

	_, err = k.RefreshSession(ctx, ref, store.Lifetimes{})
	assert.ErrorIs(t, err, store.ErrRefreshReused)
	ref = k.login(t, account)
	require.NoError(t, k.EndSession(ctx, account.ID, ref.SessionID))
	require.NoError(t, k.ChangePassword(ctx, account.ID, "secret", "new"))
	require.NoError(t, k.SetPassword(ctx, account.ID, "newer"))
	require.NoError(t, k.AddToGroup(ctx, account.ID, "g"))
	require.NoError(t, k.RemoveFromGroup(ctx, account.ID, "g"))
	require.NoError(t, k.Disable(ctx, account.ID))
	require.NoError(t, k.Enable(ctx, account.ID))
}

func TestUnavailableBackend(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.AuthenticateSession(ctx, store.SessionRef{AccountID: account.ID})
	require.Error(t, err)
	assert.False(t, errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrSessionEnded))
}
