package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func TestSessions(t *testing.T) {
	k := newKit(t, store.Config{})
	ctx := t.Context()
	account, other := k.create(t, "ada"), k.create(t, "grace")
	refs := []store.SessionRef{k.login(t, account), k.login(t, account), k.login(t, account)}
	kept := k.login(t, other)
	ids := func() (ids []string) {
		sessions, err := k.Sessions(ctx, account.ID)
		require.NoError(t, err)
		for _, session := range sessions {
			ids = append(ids, session.ID)
		}
		return ids
	}
	assert.Equal(t, []string{refs[0].SessionID, refs[1].SessionID, refs[2].SessionID}, ids())
	require.NoError(t, k.EndSession(ctx, account.ID, refs[0].SessionID))
	assert.ErrorIs(t, k.EndSession(ctx, account.ID, refs[0].SessionID), store.ErrSessionEnded)
	assert.ErrorIs(t, k.EndSession(ctx, account.ID, kept.SessionID), store.ErrSessionEnded)
	require.NoError(t, k.EndSessions(ctx, account.ID, refs[2].SessionID))
	assert.Equal(t, []string{refs[2].SessionID}, ids())
	_, err := k.FindBySession(ctx, kept)
	assert.NoError(t, err)
	for _, id := range []string{refs[0].SessionID, kept.SessionID} {
		assert.Len(t, id, 22, "128 bits in base64url")
	}
}

// TestListOfSessionsChangesNone: the account that was read is shared.
func TestListOfSessionsChangesNone(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	var last store.Session
	for _, ttl := range []time.Duration{time.Hour, 2 * time.Hour} {
		state, err := k.IssueSession(t.Context(), account.ID, store.NewSession{ClientID: "app", Lifetimes: store.Lifetimes{Refresh: ttl}})
		require.NoError(t, err)
		last = state.Session
	}
	before := k.find(t, account.ID).Clone()
	k.now = k.now.Add(time.Hour) // the first has expired, and is still in the record
	sessions, err := k.Sessions(t.Context(), account.ID)
	require.NoError(t, err)
	assert.Equal(t, []store.Session{last}, sessions)
	assert.Equal(t, before, k.find(t, account.ID))
}

func TestSessionBound(t *testing.T) {
	k := newKit(t, store.Config{MaxSessions: 3, RefreshTTL: time.Hour})
	account := k.create(t, "ada")
	start := func() *store.SessionState {
		t.Helper()
		k.now = k.now.Add(time.Minute)
		state, err := k.StartSession(t.Context(), k.find(t, account.ID), store.NewSession{ClientID: "app"})
		require.NoError(t, err)
		return state
	}
	first, second, third := start(), start(), start()
	k.now = k.now.Add(time.Minute)
	_, err := k.RefreshSession(t.Context(), store.SessionRef{AccountID: account.ID, SessionID: first.Session.ID, Generation: 1}, store.Lifetimes{})
	require.NoError(t, err)

	fourth := start()
	require.Len(t, fourth.Evicted, 1)
	assert.Equal(t, second.Session.ID, fourth.Evicted[0].ID, "the least recently refreshed")
	assert.Len(t, k.find(t, account.ID).Sessions, 3)

	k.now = third.Session.Expires // the third has expired, the first was refreshed
	k.now = k.now.Add(-time.Minute)
	fifth := start()
	assert.Empty(t, fifth.Evicted, "expired ones go first, without a word")
	assert.Len(t, k.find(t, account.ID).Sessions, 3)

	fewer := newKit(t, store.Config{Backend: k.backend, MaxSessions: 1})
	fewer.now = k.now
	last, err := fewer.IssueSession(t.Context(), account.ID, store.NewSession{ClientID: "app"})
	require.NoError(t, err)
	require.Len(t, last.Evicted, 3)
	for i, evicted := range []*store.SessionState{first, fourth, fifth} {
		assert.Equal(t, evicted.Session.ID, last.Evicted[i].ID)
	}
}

// TestRefreshAfterALostReplyIsARefresh: the session of a client that is there is not the one to be evicted.
func TestRefreshAfterALostReplyIsARefresh(t *testing.T) {
	k := newKit(t, store.Config{MaxSessions: 2})
	account := k.create(t, "ada")
	refresh := func(ref store.SessionRef) {
		k.now = k.now.Add(time.Minute)
		require.NoError(t, second(k.RefreshSession(t.Context(), ref, store.Lifetimes{})))
	}
	lost, quiet := k.login(t, account), k.login(t, account)
	refresh(lost)
	refresh(quiet)
	refresh(lost)
	k.now = k.now.Add(time.Minute)
	state, err := k.IssueSession(t.Context(), account.ID, store.NewSession{ClientID: "app"})
	require.NoError(t, err)
	require.Len(t, state.Evicted, 1)
	assert.Equal(t, quiet.SessionID, state.Evicted[0].ID)
}

// TestSessionEndsAtTheEarlierOfItsTwoEnds: the refresh TTL after its last refresh, or the session
// TTL after its login. It is alive up to its last moment.
func TestSessionEndsAtTheEarlierOfItsTwoEnds(t *testing.T) {
	const day = 24 * time.Hour
	hours := store.Config{RefreshTTL: 10 * time.Hour, SessionTTL: 24 * time.Hour}
	for name, test := range map[string]struct {
		config    store.Config
		lifetimes store.Lifetimes
		refreshes []time.Duration // after the login
		end       time.Duration   // after the login
	}{
		"default, never refreshed":  {end: 30 * day},
		"default, refreshed":        {refreshes: []time.Duration{29 * day}, end: 59 * day},
		"default, to the last":      {refreshes: []time.Duration{29 * day, 58 * day, 87 * day}, end: 90 * day},
		"never refreshed":           {config: hours, end: 10 * time.Hour},
		"refreshed":                 {config: hours, refreshes: []time.Duration{8 * time.Hour}, end: 18 * time.Hour},
		"both at once":              {config: hours, refreshes: []time.Duration{8 * time.Hour, 14 * time.Hour}, end: 24 * time.Hour},
		"to the last":               {config: hours, refreshes: []time.Duration{8 * time.Hour, 16 * time.Hour}, end: 24 * time.Hour},
		"no session TTL":            {store.Config{RefreshTTL: 10 * time.Hour, SessionTTL: store.Off}, store.Lifetimes{}, []time.Duration{9 * time.Hour, 18 * time.Hour}, 28 * time.Hour},
		"refresh TTL of a client":   {hours, store.Lifetimes{Refresh: 20 * time.Hour}, []time.Duration{3 * time.Hour}, 23 * time.Hour},
		"session TTL of a client":   {hours, store.Lifetimes{Session: 12 * time.Hour}, []time.Duration{3 * time.Hour}, 12 * time.Hour},
		"client has no session TTL": {hours, store.Lifetimes{Session: store.Off}, []time.Duration{9 * time.Hour, 18 * time.Hour}, 28 * time.Hour},
		"shorter than one refresh":  {store.Config{}, store.Lifetimes{Refresh: time.Hour, Session: time.Minute}, nil, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, test.config)
			k.now = epoch.Add(500 * time.Millisecond) // a session ends at a whole second, never later
			account := k.create(t, "ada")
			state, err := k.StartSession(t.Context(), account, store.NewSession{ClientID: "app", Lifetimes: test.lifetimes})
			require.NoError(t, err)
			ref := store.SessionRef{AccountID: account.ID, SessionID: state.Session.ID, Generation: 1}
			for _, after := range test.refreshes {
				k.now = epoch.Add(500*time.Millisecond + after)
				state, err = k.RefreshSession(t.Context(), ref, test.lifetimes)
				require.NoError(t, err)
				ref.Generation++
			}
			end := epoch.Add(test.end)
			assert.Equal(t, end, state.Session.Expires)
			assert.Equal(t, end, k.session(t, ref).Expires)
			k.now = end.Add(-time.Millisecond)
			require.NoError(t, k.authenticate(t, ref))
			sessions, err := k.Sessions(t.Context(), ref.AccountID)
			require.NoError(t, err)
			assert.Len(t, sessions, 1)
			k.now = end
			assert.ErrorIs(t, k.authenticate(t, ref), store.ErrSessionEnded)
			_, err = k.RefreshSession(t.Context(), ref, test.lifetimes)
			assert.ErrorIs(t, err, store.ErrSessionEnded)
			sessions, err = k.Sessions(t.Context(), ref.AccountID)
			require.NoError(t, err)
			assert.Empty(t, sessions)
		})
	}
}

func TestSessionWithoutEndLivesAsLongAsItIsRefreshed(t *testing.T) {
	endless := newKit(t, store.Config{RefreshTTL: time.Hour, SessionTTL: store.Off})
	ref := endless.login(t, endless.create(t, "ada"))
	for range 5000 {
		endless.now = endless.now.Add(59 * time.Minute)
		_, err := endless.RefreshSession(t.Context(), ref, store.Lifetimes{})
		require.NoError(t, err)
		ref.Generation++
	}
}

func TestUsedMark(t *testing.T) {
	backend := &countingBackend{Backend: memstore.New()}
	k := newKit(t, store.Config{Backend: backend})
	ref := k.login(t, k.create(t, "ada"))
	authenticate := func(generation int64) {
		t.Helper()
		_, err := k.FindBySession(t.Context(), store.SessionRef{AccountID: ref.AccountID, SessionID: ref.SessionID, Generation: generation})
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

// TestLastActionIsThatOfTheOwner: a login, a refresh, or the first use of a token from a refresh.
func TestLastActionIsThatOfTheOwner(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	var ref store.SessionRef
	for _, step := range []struct {
		what string
		do   func()
		acts bool
	}{
		{"login", func() { ref = k.login(t, account) }, true},
		{"first use of a token from a login", func() { require.NoError(t, k.authenticate(t, ref)) }, false},
		{"refresh", func() { require.NoError(t, second(k.RefreshSession(t.Context(), ref, store.Lifetimes{}))) }, true},
		{"lost reply", func() { require.NoError(t, second(k.RefreshSession(t.Context(), ref, store.Lifetimes{}))) }, true},
		{"first use", func() { ref.Generation = 3; require.NoError(t, k.authenticate(t, ref)) }, true},
		{"second use", func() { require.NoError(t, k.authenticate(t, ref)) }, false},
		{"change by an administrator", func() { require.NoError(t, k.AddToGroup(t.Context(), account.ID, "g")) }, false},
		{"end", func() { require.NoError(t, k.EndSession(t.Context(), account.ID, ref.SessionID)) }, false},
	} {
		before := k.find(t, account.ID).LastAction
		k.now = k.now.Add(time.Minute)
		step.do()
		if step.acts {
			before = k.now
		}
		assert.Equal(t, before, k.find(t, account.ID).LastAction, step.what)
	}
}

// TestHangUpCannotStopTheMark checks that an access token counts as used even if its client
// hangs up in the middle of the request.
func TestHangUpCannotStopTheMark(t *testing.T) {
	backend := &watchedBackend{Backend: memstore.New(), held: make(chan struct{}, 1)}
	k := newKit(t, store.Config{Backend: backend})
	ref := k.login(t, k.create(t, "ada"))
	_, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
	require.NoError(t, err)
	ref.Generation = 2
	hold := make(chan struct{})
	backend.hold.Store(&hold)
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- second(k.FindBySession(ctx, ref)) }()
	<-backend.held // the account has been read
	hangUp()
	close(hold)
	require.NoError(t, <-done)
	assert.True(t, k.session(t, ref).Used)
}

// TestMarkSeesWhatHappenedMeanwhile replaces the generation, or ends the session, after the
// record was read and before the mark is written.
func TestMarkSeesWhatHappenedMeanwhile(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*kit, store.SessionRef) error
		want      error
	}{
		"replaced": {func(k *kit, ref store.SessionRef) error {
			ref.Generation = 1
			return second(k.RefreshSession(context.Background(), ref, store.Lifetimes{}))
		}, store.ErrSuperseded},
		"ended": {func(k *kit, ref store.SessionRef) error {
			return k.EndSession(context.Background(), ref.AccountID, ref.SessionID)
		}, store.ErrSessionEnded},
		"disabled": {func(k *kit, ref store.SessionRef) error {
			return k.Disable(context.Background(), ref.AccountID)
		}, store.ErrDisabled},
		"rotated": {func(k *kit, ref store.SessionRef) error {
			return second(k.RefreshSession(context.Background(), ref, store.Lifetimes{}))
		}, nil},
		"marked by another": {func(k *kit, ref store.SessionRef) error {
			return second(k.FindBySession(context.Background(), ref))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			backend := &watchedBackend{Backend: memstore.New(), held: make(chan struct{}, 1)}
			k := newKit(t, store.Config{Backend: backend})
			ref := k.login(t, k.create(t, "ada"))
			_, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
			require.NoError(t, err)
			k.now = k.now.Add(time.Minute)
			ref.Generation = 2
			finish := backend.holdBack(func() error { return k.authenticate(t, ref) })
			require.NoError(t, test.meanwhile(k, ref))
			assert.ErrorIs(t, finish(), test.want)
			if name == "rotated" {
				assert.False(t, k.session(t, ref).Used, "nobody has used the new generation")
			}
		})
	}
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
