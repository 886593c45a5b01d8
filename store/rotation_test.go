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

// TestRotationTable goes through the rules of RefreshSession. In each case the session moved
// from generation 2 to 3 at epoch. If recovered is set, the reply to that was lost, and an
// hour later generation 4 replaced generation 3. Then the clock moves on, and a token of
// some generation is presented.
func TestRotationTable(t *testing.T) {
	const (
		rotates = iota
		recovers
		replays
		isReuse
	)
	strict := store.Config{ReuseInterval: store.Off, LostReplyWindow: store.Off}
	window := store.Config{LostReplyWindow: time.Minute}
	twoHours := store.Config{LostReplyWindow: 2 * time.Hour}
	for name, test := range map[string]struct {
		config    store.Config
		recovered bool
		presented int64
		after     time.Duration
		used      bool
		want      int
	}{
		"current at once":                      {presented: 3, want: rotates},
		"current late":                         {presented: 3, after: time.Hour, want: rotates},
		"current used":                         {presented: 3, after: time.Hour, used: true, want: rotates},
		"current, strict":                      {config: strict, presented: 3, want: rotates},
		"current, clock went back":             {presented: 3, after: -time.Hour, want: rotates},
		"proven at once":                       {presented: 2, want: replays},
		"proven at once, used":                 {presented: 2, used: true, want: replays},
		"proven at the end of the interval":    {presented: 2, after: 10 * time.Second, used: true, want: replays},
		"proven after the interval, used":      {presented: 2, after: 10*time.Second + time.Millisecond, used: true, want: isReuse},
		"proven, clock went back":              {presented: 2, after: -time.Hour, used: true, want: replays},
		"proven after the interval, unused":    {presented: 2, after: 10*time.Second + time.Millisecond, want: recovers},
		"proven late, unused":                  {presented: 2, after: 24 * time.Hour, want: recovers},
		"proven at the end of the window":      {config: window, presented: 2, after: time.Minute, want: recovers},
		"proven after the window":              {config: window, presented: 2, after: time.Minute + time.Millisecond, want: isReuse},
		"proven in the window, used":           {config: window, presented: 2, after: 30 * time.Second, used: true, want: isReuse},
		"proven at once, strict":               {config: strict, presented: 2, want: isReuse},
		"proven, strict, clock went back":      {config: strict, presented: 2, after: -time.Hour, want: isReuse},
		"proven, strict but for the reply":     {config: store.Config{ReuseInterval: store.Off}, presented: 2, want: recovers},
		"same, clock went back":                {config: store.Config{ReuseInterval: store.Off}, presented: 2, after: -time.Hour, want: recovers},
		"same, used":                           {config: store.Config{ReuseInterval: store.Off}, presented: 2, used: true, want: isReuse},
		"two before at once":                   {presented: 1, want: isReuse},
		"two before, clock went back":          {presented: 1, after: -time.Hour, want: isReuse},
		"from the future":                      {presented: 4, want: isReuse},
		"from before the first":                {presented: 0, want: isReuse},
		"recovered, current":                   {recovered: true, presented: 4, want: rotates},
		"recovered, current, used":             {recovered: true, presented: 4, after: time.Hour, used: true, want: rotates},
		"recovered, current, clock went back":  {recovered: true, presented: 4, after: -time.Minute, want: rotates},
		"recovered, proven at once":            {recovered: true, presented: 2, want: replays},
		"recovered, proven in the interval":    {recovered: true, presented: 2, after: 10 * time.Second, used: true, want: replays},
		"recovered, proven late":               {recovered: true, presented: 2, after: time.Hour, want: recovers},
		"recovered, proven late, used":         {recovered: true, presented: 2, after: time.Hour, used: true, want: isReuse},
		"recovered, proven, end of window":     {config: twoHours, recovered: true, presented: 2, after: time.Hour, want: recovers},
		"recovered, proven, after window":      {config: twoHours, recovered: true, presented: 2, after: time.Hour + time.Millisecond, want: isReuse},
		"recovered, the one between":           {recovered: true, presented: 3, want: isReuse},
		"recovered, the one between, late":     {recovered: true, presented: 3, after: time.Hour, want: isReuse},
		"recovered, before the proven":         {recovered: true, presented: 1, want: isReuse},
		"recovered, from the future":           {recovered: true, presented: 5, want: isReuse},
		"recovered, strict, proven late, used": {config: store.Config{ReuseInterval: store.Off}, recovered: true, presented: 2, after: time.Hour, used: true, want: isReuse},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, test.config)
			ref := k.login(t, k.create(t, "ada"))
			refresh := func() *store.SessionState {
				t.Helper()
				state, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
				require.NoError(t, err)
				return state
			}
			for range 2 {
				ref.Generation = refresh().Session.Generation
			}
			if test.recovered {
				ref.Generation = 2
				k.now = k.now.Add(time.Hour)
				ref.Generation = refresh().Session.Generation
				require.Equal(t, int64(4), ref.Generation)
			}
			if test.used {
				require.NoError(t, k.authenticate(t, ref))
			}
			before := k.session(t, ref)
			require.Equal(t, test.used, before.Used)
			require.Equal(t, int64(2), before.Proven())
			require.Equal(t, k.now, before.Issued())

			k.now = k.now.Add(test.after)
			issued := k.now // if the clock went back, no time has passed
			if before.Issued().After(issued) {
				issued = before.Issued()
			}
			ref.Generation = test.presented
			state, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
			after := before
			switch test.want {
			case rotates:
				require.NoError(t, err)
				assert.False(t, state.Replayed || state.Recovered)
				after = k.session(t, ref)
				assert.Equal(t, before.Generation, after.Proven())
				assert.Equal(t, before.Generation+1, after.Generation)
				assert.False(t, after.Used)
				assert.Equal(t, issued, after.Rotated)
				assert.Equal(t, issued, after.Issued())
				assert.Equal(t, issued.Add(30*24*time.Hour), after.Expires)
				assert.Equal(t, after, state.Session)
			case recovers:
				// This works any number of times within the window, with a new generation each time.
				for range 3 {
					require.NoError(t, err)
					assert.True(t, state.Recovered)
					assert.False(t, state.Replayed)
					last := after
					after = k.session(t, ref)
					assert.Equal(t, last.Generation+1, after.Generation)
					assert.Equal(t, int64(2), after.Proven(), "the last proven stays")
					assert.False(t, after.Used)
					assert.Equal(t, before.Rotated, after.Rotated)
					assert.Equal(t, before.Expires, after.Expires, "nothing slides")
					assert.Equal(t, issued, after.Issued())
					assert.Equal(t, after, state.Session)
					if test.config.LostReplyWindow != 0 {
						break
					}
					k.now = issued.Add(11 * time.Second)
					issued = k.now
					state, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
				}
			case replays:
				// This works any number of times. Nothing is written, and no time moves.
				for range 3 {
					require.NoError(t, err)
					assert.True(t, state.Replayed)
					assert.False(t, state.Recovered)
					assert.Equal(t, before, state.Session)
					assert.Equal(t, before, k.session(t, ref))
					state, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
				}
			case isReuse:
				require.ErrorIs(t, err, store.ErrRefreshReused)
				assert.Empty(t, k.find(t, ref.AccountID).Sessions)
				for generation := int64(1); generation <= 5; generation++ {
					ref.Generation = generation
					_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
					assert.ErrorIs(t, err, store.ErrSessionEnded)
					assert.ErrorIs(t, k.authenticate(t, ref), store.ErrSessionEnded)
				}
			}
		})
	}
}

// TestLostReplyWindowCloses checks that retries every 50 seconds do not keep a window of one
// minute open.
func TestLostReplyWindowCloses(t *testing.T) {
	k := newKit(t, store.Config{LostReplyWindow: time.Minute})
	ref := k.login(t, k.create(t, "ada"))
	_, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
	require.NoError(t, err)
	k.now = k.now.Add(50 * time.Second)
	_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
	require.NoError(t, err)
	k.now = k.now.Add(50 * time.Second)
	_, err = k.RefreshSession(t.Context(), ref, store.Lifetimes{})
	assert.ErrorIs(t, err, store.ErrRefreshReused)
}

// TestSupersededAccessToken checks that each process refuses the access token of a lost
// reply, whatever it has cached, and that the session stays alive.
func TestSupersededAccessToken(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Hour} {
		k := newKit(t, store.Config{CacheTTL: ttl})
		other := newKit(t, store.Config{Backend: k.backend, CacheTTL: ttl})
		ref := k.login(t, k.create(t, "ada"))
		at := func(generation int64) store.SessionRef {
			return store.SessionRef{AccountID: ref.AccountID, SessionID: ref.SessionID, Generation: generation}
		}
		refresh := func(generation int64) {
			t.Helper()
			_, err := k.RefreshSession(t.Context(), at(generation), store.Lifetimes{})
			require.NoError(t, err)
			k.now = k.now.Add(time.Minute)
			other.now = k.now
		}
		refresh(1)
		refresh(2)
		require.NoError(t, other.authenticate(t, at(2))) // it has now cached generation 3
		refresh(2)                                       // again: 4 replaces 3
		for _, process := range []*kit{k, other} {
			for range 2 {
				assert.ErrorIs(t, process.authenticate(t, at(3)), store.ErrSuperseded, "cache %v", ttl)
				assert.NoError(t, process.authenticate(t, at(2)), "the last proven runs out by itself")
			}
		}
		assert.NoError(t, other.authenticate(t, at(4)))
		assert.True(t, k.session(t, ref).Used)
		_, err := k.RefreshSession(t.Context(), at(3), store.Lifetimes{})
		assert.ErrorIs(t, err, store.ErrRefreshReused, "its refresh token ends the session")
	}
}

// TestOldRecordsReadExactly reads a session that was stored before generations could be
// replaced.
func TestOldRecordsReadExactly(t *testing.T) {
	old := store.Session{Generation: 7, Rotated: epoch}
	assert.Equal(t, int64(6), old.Proven())
	assert.Equal(t, epoch, old.Issued())
}

// TestNewerRecordsAreRefused checks that a record of a newer layout is neither read nor
// written.
func TestNewerRecordsAreRefused(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	ref := k.login(t, account)
	assert.Equal(t, int32(store.RecordFormat), account.Format)
	require.NoError(t, k.backend.Update(t.Context(), account.ID, func(a *store.Account) error {
		a.Format = store.RecordFormat + 1
		return nil
	}))
	before := k.backendFind(t, account.ID)
	for name, err := range map[string]error{
		"find by id":    second(k.FindByID(t.Context(), account.ID)),
		"find by name":  second(k.FindByName(t.Context(), "ada")),
		"find by email": second(k.FindByEmail(t.Context(), "ada@example.org")),
		"login":         second(k.VerifyPassword(t.Context(), "ada", secret)),
		"access":        k.authenticate(t, ref),
		"disable":       k.Disable(t.Context(), account.ID),
		"refresh":       second(k.RefreshSession(t.Context(), ref, store.Lifetimes{})),
	} {
		assert.ErrorIs(t, err, store.ErrUnavailable, name)
		assert.ErrorContains(t, err, "newer version", name)
	}
	assert.Equal(t, before, k.backendFind(t, account.ID))
}

func second[T any](_ T, err error) error { return err }

// TestNoSessionHasGenerationZero: before the first rotation nothing is proven.
func TestNoSessionHasGenerationZero(t *testing.T) {
	for _, generation := range []int64{0, -1} {
		k := newKit(t, store.Config{})
		ref := k.login(t, k.create(t, "ada"))
		ref.Generation = generation
		assert.ErrorIs(t, second(k.RefreshSession(t.Context(), ref, store.Lifetimes{})), store.ErrRefreshReused)
		assert.Empty(t, k.find(t, ref.AccountID).Sessions)
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

// forgetfulBackend loses the reply to a write and starts over, as a backend over a network
// must. So change runs a second time, on its own result.
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
	assert.False(t, state.Replayed || state.Recovered)
	assert.Equal(t, int64(2), k.session(t, ref).Generation)

	_, err = k.RefreshSession(ctx, ref, store.Lifetimes{})
	assert.ErrorIs(t, err, store.ErrRefreshReused)
	ref = k.login(t, account)
	require.NoError(t, k.EndSession(ctx, account.ID, ref.SessionID))
	forgiving := newKit(t, store.Config{Backend: k.backend, ReuseInterval: store.Off})
	ref = forgiving.login(t, account)
	for _, recovered := range []bool{false, true} {
		state, err = forgiving.RefreshSession(ctx, ref, store.Lifetimes{})
		require.NoError(t, err)
		assert.Equal(t, recovered, state.Recovered)
	}
	assert.Equal(t, int64(3), k.session(t, ref).Generation)
	require.NoError(t, k.changePassword(ctx, account.ID, secret, newSecret))
	require.NoError(t, k.SetPassword(ctx, account.ID, newSecret))
	require.NoError(t, k.AddToGroup(ctx, account.ID, "g"))
	require.NoError(t, k.RemoveFromGroup(ctx, account.ID, "g"))
	require.NoError(t, k.Disable(ctx, account.ID))
	require.NoError(t, k.Enable(ctx, account.ID))
}

// conflictingBackend finds that somebody else has written, after the function has run once, and
// starts over.
type conflictingBackend struct {
	store.Backend
	meanwhile func()
}

func (b *conflictingBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	account, err := b.FindByID(ctx, id)
	if err != nil {
		return err
	}
	if err := change(account.Clone()); err != nil {
		return err
	}
	if meanwhile := b.meanwhile; meanwhile != nil {
		b.meanwhile = nil
		meanwhile()
	}
	return b.Backend.Update(ctx, id, change)
}

// TestConflictingRefreshSaysWhatItDidInTheEnd: two callers find that the reply was lost. One of them makes it
// good, the other one gets the same generation.
func TestConflictingRefreshSaysWhatItDidInTheEnd(t *testing.T) {
	other := newKit(t, store.Config{})
	backend := &conflictingBackend{Backend: other.backend}
	k := newKit(t, store.Config{Backend: backend})
	ref := k.login(t, k.create(t, "ada"))
	require.NoError(t, second(k.RefreshSession(t.Context(), ref, store.Lifetimes{})))
	k.now, other.now = epoch.Add(time.Minute), epoch.Add(time.Minute)
	backend.meanwhile = func() {
		state, err := other.RefreshSession(t.Context(), ref, store.Lifetimes{})
		assert.NoError(t, err)
		assert.True(t, state.Recovered)
	}
	state, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{})
	require.NoError(t, err)
	assert.Equal(t, int64(3), state.Session.Generation)
	assert.True(t, state.Replayed)
	assert.False(t, state.Recovered)

	backend.meanwhile = func() {
		ref.Generation = 3
		assert.NoError(t, second(other.FindBySession(t.Context(), ref)))
		ref.Generation = 1
	}
	k.now = k.now.Add(time.Minute)
	assert.ErrorIs(t, second(k.RefreshSession(t.Context(), ref, store.Lifetimes{})), store.ErrRefreshReused)
	assert.Empty(t, k.find(t, ref.AccountID).Sessions)
}

// TestLostReplyDoesNotMoveTheEnd: also where the lifetimes have changed since the last rotation.
func TestLostReplyDoesNotMoveTheEnd(t *testing.T) {
	k := newKit(t, store.Config{})
	ref := k.login(t, k.create(t, "ada"))
	rotated, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{Refresh: time.Hour})
	require.NoError(t, err)
	k.now = k.now.Add(time.Minute)
	state, err := k.RefreshSession(t.Context(), ref, store.Lifetimes{Refresh: 2 * time.Hour})
	require.NoError(t, err)
	require.True(t, state.Recovered)
	assert.Equal(t, rotated.Session.Expires, state.Session.Expires)
}

// TestLateRetryEndsNoNewSession: the reply to the write of a new password is lost. Before the write is tried
// again, somebody logs in with that password.
func TestLateRetryEndsNoNewSession(t *testing.T) {
	for name, set := range map[string]func(t *testing.T, k *lifeKit, id store.ID) error{
		"SetPassword": func(t *testing.T, k *lifeKit, id store.ID) error { return k.SetPassword(t.Context(), id, newSecret) },
		"ChangePassword": func(t *testing.T, k *lifeKit, id store.ID) error {
			return k.changePassword(t.Context(), id, secret, newSecret)
		},
		"ConfirmPasswordReset": func(t *testing.T, k *lifeKit, _ store.ID) error { return k.reset(t, k.resetCode(t, "ada@example.org")) },
	} {
		t.Run(name, func(t *testing.T) {
			backend := &lateBackend{Backend: memstore.New()}
			k := newLifeKit(t, store.Config{Backend: backend})
			other := newKit(t, store.Config{Backend: backend.Backend})
			account := k.create(t, "ada")
			var ref store.SessionRef
			backend.meanwhile = func() { ref = other.login(t, account) }
			require.NoError(t, set(t, k, account.ID))
			require.NotZero(t, ref)
			assert.NoError(t, other.authenticate(t, ref))
		})
	}
}

// lateBackend loses the reply to a write, and starts over when something else has happened.
type lateBackend struct {
	store.Backend
	meanwhile func()
}

func (b *lateBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	err := b.Backend.Update(ctx, id, change)
	meanwhile := b.meanwhile
	if err != nil || meanwhile == nil {
		return err
	}
	b.meanwhile = nil
	meanwhile()
	return b.Backend.Update(ctx, id, change)
}

func TestUnavailableBackend(t *testing.T) {
	k := newKit(t, store.Config{})
	account := k.create(t, "ada")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := k.FindBySession(ctx, store.SessionRef{AccountID: account.ID})
	require.Error(t, err)
	assert.False(t, errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrSessionEnded))
}

// TestLostReplyWindowFollowsTheToken: by default the window is as long as the token lives,
// which may be a client's own time.
func TestLostReplyWindowFollowsTheToken(t *testing.T) {
	long := store.Lifetimes{Refresh: 90 * 24 * time.Hour, Session: store.Off}
	for name, test := range map[string]struct {
		config    store.Config
		lifetimes store.Lifetimes
		want      error
	}{
		"of the client": {store.Config{}, long, nil},
		"of all":        {store.Config{RefreshTTL: long.Refresh, SessionTTL: store.Off}, store.Lifetimes{}, nil},
		"shorter":       {store.Config{LostReplyWindow: 30 * 24 * time.Hour}, long, store.ErrRefreshReused},
	} {
		k := newKit(t, test.config)
		state, err := k.StartSession(t.Context(), k.create(t, "ada"), store.NewSession{ClientID: "app", Lifetimes: test.lifetimes})
		require.NoError(t, err)
		ref := store.SessionRef{AccountID: state.Account.ID, SessionID: state.Session.ID, Generation: 1}
		_, err = k.RefreshSession(t.Context(), ref, test.lifetimes)
		require.NoError(t, err)
		k.now = k.now.Add(80 * 24 * time.Hour)
		_, err = k.RefreshSession(t.Context(), ref, test.lifetimes)
		assert.ErrorIs(t, err, test.want, name)
	}
}
