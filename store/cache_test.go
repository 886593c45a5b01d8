package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// watchedBackend counts reads, and can hold them up or fail them.
type watchedBackend struct {
	store.Backend
	reads atomic.Int64
	fail  atomic.Bool
	hold  atomic.Pointer[chan struct{}] // each read waits for it before it returns
	held  chan struct{}                 // gets a value when a read waits

	answer atomic.Value // a context.Context; reads fail once it has ended
}

func (b *watchedBackend) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	b.reads.Add(1)
	if b.fail.Load() {
		return nil, store.ErrUnavailable
	}
	account, err := b.Backend.FindByID(ctx, id)
	if hold := b.hold.Load(); hold != nil {
		b.held <- struct{}{}
		<-*hold
	}
	if ctx, isSet := b.answer.Load().(context.Context); isSet && ctx.Err() != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	return account, err
}

// holdBack makes a call whose read is done and does not return yet. finish lets it go on, and
// returns its error. Later reads are not held up.
func (b *watchedBackend) holdBack(call func() error) (finish func() error) {
	hold, done := make(chan struct{}), make(chan error)
	b.hold.Store(&hold)
	go func() { done <- call() }()
	<-b.held
	b.hold.Store(nil)
	return func() error { close(hold); return <-done }
}

const cacheTTL = time.Minute

func newCached(t *testing.T, config store.Config) (*kit, *watchedBackend, store.SessionRef) {
	t.Helper()
	backend := &watchedBackend{Backend: memstore.New(), held: make(chan struct{}, 100)}
	config.Backend = backend
	if config.CacheTTL == 0 {
		config.CacheTTL = cacheTTL
	}
	k := newKit(t, config)
	return k, backend, k.login(t, k.create(t, "ada"))
}

func (k *kit) authenticate(t *testing.T, ref store.SessionRef) error {
	t.Helper()
	_, err := k.FindBySession(t.Context(), ref)
	return err
}

func TestCacheAnswersForItsTTL(t *testing.T) {
	k, backend, ref := newCached(t, store.Config{})
	require.NoError(t, k.authenticate(t, ref))
	reads := backend.reads.Load()
	k.now = k.now.Add(cacheTTL - time.Millisecond)
	require.NoError(t, k.authenticate(t, ref))
	assert.Equal(t, reads, backend.reads.Load())
	k.now = k.now.Add(time.Millisecond)
	require.NoError(t, k.authenticate(t, ref))
	assert.Equal(t, reads+1, backend.reads.Load())
	k.now = k.now.Add(-time.Hour)
	require.NoError(t, k.authenticate(t, ref))
	assert.Equal(t, reads+2, backend.reads.Load(), "a clock that went back makes nothing older last longer")
}

func TestCacheIsOffByDefault(t *testing.T) {
	backend := &watchedBackend{Backend: memstore.New()}
	k := newKit(t, store.Config{Backend: backend})
	ref := k.login(t, k.create(t, "ada"))
	reads := backend.reads.Load()
	for range 3 {
		require.NoError(t, k.authenticate(t, ref))
	}
	assert.Equal(t, reads+3, backend.reads.Load())
}

// TestCacheSeesOwnChanges checks that each kind of change is seen at once.
func TestCacheSeesOwnChanges(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*kit, store.SessionRef) error
		want   error
	}{
		"end session": {func(k *kit, r store.SessionRef) error {
			return k.EndSession(context.Background(), r.AccountID, r.SessionID)
		}, store.ErrSessionEnded},
		"end sessions": {func(k *kit, r store.SessionRef) error { return k.EndSessions(context.Background(), r.AccountID, "") }, store.ErrSessionEnded},
		"password": {func(k *kit, r store.SessionRef) error {
			return k.SetPassword(context.Background(), r.AccountID, newSecret)
		}, store.ErrSessionEnded},
		"disable": {func(k *kit, r store.SessionRef) error { return k.Disable(context.Background(), r.AccountID) }, store.ErrDisabled},
		"remove":  {func(k *kit, r store.SessionRef) error { return k.Remove(context.Background(), r.AccountID) }, store.ErrNotFound},
		"group":   {func(k *kit, r store.SessionRef) error { return k.AddToGroup(context.Background(), r.AccountID, "g") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			k, _, ref := newCached(t, store.Config{})
			require.NoError(t, k.authenticate(t, ref))
			require.NoError(t, test.change(k, ref))
			account, err := k.FindBySession(t.Context(), ref)
			assert.ErrorIs(t, err, test.want)
			if test.want == nil {
				assert.True(t, account.InGroup("g"))
			}
		})
	}
}

// TestCacheMayOnlyGrant checks that a session which another process starts works at once,
// and that one which it ends works until the TTL is over.
func TestCacheMayOnlyGrant(t *testing.T) {
	k, backend, ref := newCached(t, store.Config{})
	other := newKit(t, store.Config{Backend: backend.Backend})
	account := other.find(t, ref.AccountID)
	seen, err := k.FindBySession(t.Context(), ref)
	require.NoError(t, err)

	second := other.login(t, account)
	assert.NoError(t, k.authenticate(t, second), "a login at another process")
	require.NoError(t, other.AddToGroup(t.Context(), ref.AccountID, "g"))
	fresh, err := k.FindBySessionFresh(t.Context(), ref, seen)
	require.NoError(t, err)
	assert.True(t, fresh.InGroup("g"))

	stranger, reads := ref, backend.reads.Load()
	stranger.SessionID = "never begun"
	assert.ErrorIs(t, k.authenticate(t, stranger), store.ErrSessionEnded)
	assert.Equal(t, reads+1, backend.reads.Load(), "one look is enough to refuse")

	require.NoError(t, other.Disable(t.Context(), ref.AccountID))
	assert.NoError(t, k.authenticate(t, ref), "the price of a TTL")
	k.now = k.now.Add(cacheTTL)
	assert.ErrorIs(t, k.authenticate(t, ref), store.ErrDisabled)
	require.NoError(t, other.Enable(t.Context(), ref.AccountID))
	third := other.login(t, account)
	assert.NoError(t, k.authenticate(t, third), "what is held is disabled, and asked about")
}

// TestCacheStillMarks checks that a generation from another process is marked as used even
// if an older record is cached.
func TestCacheStillMarks(t *testing.T) {
	k, backend, ref := newCached(t, store.Config{})
	other := newKit(t, store.Config{Backend: backend.Backend})
	require.NoError(t, k.authenticate(t, ref))
	_, err := other.RefreshSession(t.Context(), ref, store.Lifetimes{})
	require.NoError(t, err)
	ref.Generation = 2
	require.NoError(t, k.authenticate(t, ref))
	assert.True(t, other.session(t, ref).Used)
	reads := backend.reads.Load()
	require.NoError(t, k.authenticate(t, ref))
	require.NoError(t, k.authenticate(t, ref))
	assert.LessOrEqual(t, backend.reads.Load(), reads+1)
}

func TestCacheAsksOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, backend, ref := newCached(t, store.Config{})
		hold := make(chan struct{})
		backend.hold.Store(&hold)
		reads := backend.reads.Load()
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() { assert.NoError(t, k.authenticate(t, ref)) })
		}
		synctest.Wait() // one of them reads, and the others wait for it
		close(hold)
		all.Wait()
		assert.Equal(t, reads+1, backend.reads.Load())
	})
}

// TestCacheStoresNoReadFromBeforeAWrite checks a read that finds the session alive and
// returns only after the session was ended here.
func TestCacheStoresNoReadFromBeforeAWrite(t *testing.T) {
	k, backend, ref := newCached(t, store.Config{})
	late := backend.holdBack(func() error { return k.authenticate(t, ref) })
	require.NoError(t, k.EndSession(t.Context(), ref.AccountID, ref.SessionID))
	assert.ErrorIs(t, k.authenticate(t, ref), store.ErrSessionEnded, "nor is the old read joined")
	_ = late()
	assert.ErrorIs(t, k.authenticate(t, ref), store.ErrSessionEnded)
}

func TestCacheGrace(t *testing.T) {
	for _, grace := range []time.Duration{0, time.Minute} {
		k, backend, ref := newCached(t, store.Config{CacheGrace: grace})
		require.NoError(t, k.authenticate(t, ref))
		backend.fail.Store(true)
		k.now = k.now.Add(cacheTTL - time.Millisecond)
		assert.NoError(t, k.authenticate(t, ref), "held")
		k.now = k.now.Add(time.Millisecond)
		if grace == 0 {
			assert.ErrorIs(t, k.authenticate(t, ref), store.ErrUnavailable)
			continue
		}
		assert.NoError(t, k.authenticate(t, ref), "an outage within the grace")
		stranger := ref
		stranger.SessionID = "begun elsewhere"
		assert.ErrorIs(t, k.authenticate(t, stranger), store.ErrUnavailable, "what is held refuses nobody")
		_, err := k.FindBySessionFresh(t.Context(), ref, nil)
		assert.ErrorIs(t, err, store.ErrUnavailable)
		k.now = k.now.Add(grace)
		assert.ErrorIs(t, k.authenticate(t, ref), store.ErrUnavailable)
	}
}

// TestCacheGraceIsForOutagesOnly checks an account that another process has disabled. If its
// client hangs up, or if the error is no outage, the cached account does not let it in.
func TestCacheGraceIsForOutagesOnly(t *testing.T) {
	k, backend, ref := newCached(t, store.Config{CacheGrace: time.Hour})
	require.NoError(t, k.authenticate(t, ref))
	other := newKit(t, store.Config{Backend: backend.Backend})
	require.NoError(t, other.Disable(t.Context(), ref.AccountID))
	k.now = k.now.Add(cacheTTL)
	for range 20 {
		hold := make(chan struct{})
		backend.hold.Store(&hold)
		ctx, hangUp := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- second(k.FindBySession(ctx, ref)) }()
		<-backend.held
		hangUp()
		backend.answer.Store(ctx)
		close(hold)
		assert.ErrorIs(t, <-done, context.Canceled)
	}
	backend.hold.Store(nil)
	backend.answer.Store(t.Context())
	assert.ErrorIs(t, k.authenticate(t, ref), store.ErrDisabled)
}

// TestCacheForgetsARemovedAccount: another process removes it. Whoever has heard that it is gone does
// not see it again, neither within the TTL nor in an outage.
func TestCacheForgetsARemovedAccount(t *testing.T) {
	for name, hear := range map[string]func(k *kit, ref store.SessionRef) error{
		"a fresh look": func(k *kit, ref store.SessionRef) error {
			return second(k.FindBySessionFresh(context.Background(), ref, nil))
		},
		"after the TTL": func(k *kit, ref store.SessionRef) error {
			k.now = k.now.Add(cacheTTL)
			return second(k.FindBySession(context.Background(), ref))
		},
	} {
		t.Run(name, func(t *testing.T) {
			k, backend, ref := newCached(t, store.Config{CacheGrace: time.Hour})
			require.NoError(t, k.authenticate(t, ref))
			require.NoError(t, newKit(t, store.Config{Backend: backend.Backend}).Remove(t.Context(), ref.AccountID))
			require.ErrorIs(t, hear(k, ref), store.ErrNotFound)
			assert.ErrorIs(t, k.authenticate(t, ref), store.ErrNotFound)
			backend.fail.Store(true)
			assert.ErrorIs(t, k.authenticate(t, ref), store.ErrUnavailable)
		})
	}
}

// TestCacheCountsTheTTLFromTheBeginningOfTheRead: what changes during a slow read is seen a TTL later.
func TestCacheCountsTheTTLFromTheBeginningOfTheRead(t *testing.T) {
	k, backend, ref := newCached(t, store.Config{})
	finish := backend.holdBack(func() error { return k.authenticate(t, ref) })
	k.now = k.now.Add(10 * time.Second)
	require.NoError(t, finish())
	reads := backend.reads.Load()
	k.now = k.now.Add(cacheTTL - 10*time.Second - time.Millisecond)
	require.NoError(t, k.authenticate(t, ref))
	require.Equal(t, reads, backend.reads.Load())
	k.now = k.now.Add(time.Millisecond)
	require.NoError(t, k.authenticate(t, ref))
	assert.Equal(t, reads+1, backend.reads.Load())
}

// TestCacheForgetsAfterAWriteThatFailed: it may have been done, and only its reply was lost.
func TestCacheForgetsAfterAWriteThatFailed(t *testing.T) {
	backend := &lossyBackend{Backend: memstore.New()}
	k := newKit(t, store.Config{Backend: backend, CacheTTL: cacheTTL})
	ref := k.login(t, k.create(t, "ada"))
	require.NoError(t, k.authenticate(t, ref))
	backend.loseNext(1, false)
	require.ErrorIs(t, k.EndSession(t.Context(), ref.AccountID, ref.SessionID), store.ErrUnavailable)
	assert.ErrorIs(t, k.authenticate(t, ref), store.ErrSessionEnded)
}

// TestCacheHoldsManyAccounts: by default far more than a test makes.
func TestCacheHoldsManyAccounts(t *testing.T) {
	k, backend, ref := newCached(t, store.Config{})
	refs := []store.SessionRef{ref}
	for i := range 50 {
		refs = append(refs, k.login(t, k.create(t, fmt.Sprint("user", i))))
	}
	for range 2 {
		for _, ref := range refs {
			require.NoError(t, k.authenticate(t, ref))
		}
	}
	assert.Equal(t, int64(2*len(refs)), backend.reads.Load(), "one for each login, one for each account")
}

// TestBackendOutOfTimeFailsAllWhoWait: they do not ask it again, one after the other.
func TestBackendOutOfTimeFailsAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, backend, ref := newCached(t, store.Config{})
		expired, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		<-expired.Done()
		backend.answer.Store(expired)
		hold := make(chan struct{})
		backend.hold.Store(&hold)
		before := backend.reads.Load()
		done := make(chan error)
		for range 2 {
			go func() { done <- k.authenticate(t, ref) }()
		}
		synctest.Wait()
		close(hold)
		for range 2 {
			assert.ErrorIs(t, <-done, store.ErrUnavailable)
		}
		assert.Equal(t, before+1, backend.reads.Load())
	})
}

// obedientBackend reads once hold is closed, unless the context of the caller ends before.
type obedientBackend struct {
	store.Backend
	hold chan struct{}
}

func (b *obedientBackend) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return b.Backend.FindByID(ctx, id)
}

// TestCallerWhoGivesUpFailsNoOther: two callers share a read, and the one who began it leaves.
func TestCallerWhoGivesUpFailsNoOther(t *testing.T) {
	for name, giveUp := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"hangs up": context.WithCancel,
		"is out of time": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				backend := &obedientBackend{Backend: memstore.New()}
				k := newKit(t, store.Config{Backend: backend, CacheTTL: cacheTTL})
				ref := k.login(t, k.create(t, "ada"))
				backend.hold = make(chan struct{})
				ctx, cancel := giveUp(t.Context())
				first, other := make(chan error, 1), make(chan error, 1)
				go func() { first <- second(k.FindBySession(ctx, ref)) }()
				synctest.Wait()
				go func() { other <- k.authenticate(t, ref) }()
				synctest.Wait()
				time.Sleep(time.Second)
				synctest.Wait() // the time is over before the client hangs up
				cancel()
				assert.ErrorIs(t, <-first, ctx.Err())
				synctest.Wait()
				close(backend.hold)
				assert.NoError(t, <-other)
			})
		})
	}
}

// TestCacheJoinsNoReadFromBeforeALogin: a read begins, then the account logs in at another
// process, then the new token comes. The old read must not refuse it.
func TestCacheJoinsNoReadFromBeforeALogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, backend, ref := newCached(t, store.Config{})
		other := newKit(t, store.Config{Backend: backend.Backend})
		hold := make(chan struct{})
		backend.hold.Store(&hold)
		first, second := make(chan error), make(chan error)
		go func() { first <- k.authenticate(t, ref) }()
		synctest.Wait()
		backend.hold.Store(nil)
		fresh := other.login(t, other.find(t, ref.AccountID))
		require.NoError(t, other.AddToGroup(t.Context(), ref.AccountID, "g"))
		go func() { second <- k.authenticate(t, fresh) }()
		synctest.Wait() // it waits for the read of the first
		account, err := k.FindBySessionFresh(t.Context(), ref, nil)
		require.NoError(t, err)
		assert.True(t, account.InGroup("g"), "a fresh look joins nobody")
		close(hold)
		assert.NoError(t, <-first)
		assert.NoError(t, <-second)
	})
}
