package boltstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

func openCached(t testing.TB, cacheBytes int64) *boltstore.Store {
	t.Helper()
	backend, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Config{CacheBytes: cacheBytes})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	return backend
}

// life is the model of one account. One writer makes, changes and removes it. Each write has a
// version, which is the phone of the account.
type life struct {
	account *store.Account
	exists  bool         // for the writer alone
	begun   atomic.Int64 // the newest version whose write has begun
	removed atomic.Int64 // the newest version whose write removes the account; at first it is absent
	seen    atomic.Int64 // the newest version that a write or a read has shown to somebody
}

func (l *life) show(version int64) {
	for {
		seen := l.seen.Load()
		if version <= seen || l.seen.CompareAndSwap(seen, version) {
			return
		}
	}
}

// write makes the next version.
func (l *life) write(backend store.Backend, random *rand.Rand) error {
	version := l.begun.Add(1)
	var err error
	switch {
	case !l.exists:
		made := l.account.Clone()
		made.Phone = strconv.FormatInt(version, 10)
		err = backend.Create(bg, made)
		l.exists = true
	case random.IntN(4) == 0:
		l.removed.Store(version)
		err = backend.Delete(bg, l.account.ID)
		l.exists = false
	default:
		err = backend.Update(bg, l.account.ID, func(a *store.Account) error {
			if a.Phone != strconv.FormatInt(version-1, 10) {
				return fmt.Errorf("the change to version %d found version %s", version, a.Phone)
			}
			a.Phone = strconv.FormatInt(version, 10)
			return nil
		})
	}
	if err == nil {
		l.show(version)
	}
	return err
}

// read returns an error for an answer that is older than what somebody has seen before.
func (l *life) read(backend store.Backend, random *rand.Rand) error {
	seen := l.seen.Load()
	var found *store.Account
	var err error
	switch random.IntN(8) {
	case 0:
		found, err = backend.FindByName(bg, l.account.Name)
	case 1:
		found, err = backend.FindByEmail(bg, l.account.EmailKey)
	default:
		found, err = backend.FindByID(bg, l.account.ID)
	}
	if errors.Is(err, store.ErrNotFound) {
		if removed := l.removed.Load(); removed < seen {
			return fmt.Errorf("not found, but version %d was seen, and version %d was the last one without the account", seen, removed)
		}
		return nil
	}
	if err != nil {
		return err
	}
	version, err := strconv.ParseInt(found.Phone, 10, 64)
	if begun := l.begun.Load(); err != nil || version < seen || version > begun {
		return fmt.Errorf("version %q, but %d was seen, and %d is the newest", found.Phone, seen, begun)
	}
	l.show(version)
	return nil
}

// TestNoReadGoesBack has writers, and readers of all accounts. A read sees each write that was
// answered before, and what any other read has returned before.
//
// OAUTHSV_TEST_CACHE_WRITES is how many writes each writer makes, 60 by default.
func TestNoReadGoesBack(t *testing.T) {
	writes := number(t, "OAUTHSV_TEST_CACHE_WRITES", 60)
	for name, cacheBytes := range map[string]int64{"cache": 0, "small cache": 4 << 10, "no cache": -1} {
		t.Run(name, func(t *testing.T) {
			backend := openCached(t, cacheBytes)
			lives := make([]*life, 8)
			for i := range lives {
				lives[i] = &life{account: account(i % 4 * 64)} // of one shard
				lives[i].account.ID[0] = byte(i)
				lives[i].account.Name += strconv.Itoa(i)
				lives[i].account.EmailKey += strconv.Itoa(i)
				lives[i].account.Email += strconv.Itoa(i)
			}
			var writers, readers sync.WaitGroup
			stop := make(chan struct{})
			for i, l := range lives {
				writers.Go(func() {
					random := rand.New(rand.NewPCG(1, uint64(i)))
					for range writes {
						if !assert.NoError(t, l.write(backend, random)) {
							return
						}
					}
				})
			}
			for i := range 4 {
				readers.Go(func() {
					random := rand.New(rand.NewPCG(2, uint64(i)))
					for {
						select {
						case <-stop:
							return
						default:
						}
						if !assert.NoError(t, lives[random.IntN(len(lives))].read(backend, random)) {
							return
						}
					}
				})
			}
			writers.Wait()
			close(stop)
			readers.Wait()
		})
	}
}

// TestCacheIsBounded fills the cache many times over, with accounts of several kinds, and looks at
// the memory.
func TestCacheIsBounded(t *testing.T) {
	const cacheBytes = 1 << 20
	text := func(i int) string { return fmt.Sprint(i, strings.Repeat("x", 1000)) }
	sessions := func(count int) func(*store.Account, int) {
		return func(a *store.Account, i int) {
			a.Sessions = make([]store.Session, count)
			for j := range a.Sessions {
				a.Sessions[j] = store.Session{
					ID: fmt.Sprintf("session-%d-of-account-%d", j, i), ClientID: "app", UserAgent: strings.Repeat("u", 100), Address: "192.0.2.1",
					Created: epoch, Rotated: epoch, Expires: epoch,
				}
			}
		}
	}
	for name, test := range map[string]struct {
		count int
		set   func(a *store.Account, i int)
	}{
		"no session":  {4000, sessions(0)},
		"one session": {4000, sessions(1)},
		"32 sessions": {300, sessions(32)},
		"long texts": {700, func(a *store.Account, i int) {
			a.Name, a.Email, a.EmailKey, a.Phone, a.PasswordHash = text(i), text(i), text(i), text(i), text(i)
		}},
		"long texts in a session": {700, func(a *store.Account, i int) {
			a.Sessions = []store.Session{{ID: text(i), ClientID: text(i), UserAgent: text(i), Address: text(i), Created: epoch, Rotated: epoch, Expires: epoch}}
		}},
		"many short groups": {1500, func(a *store.Account, i int) {
			a.Groups = nil
			for j := range 64 {
				a.Groups = append(a.Groups, fmt.Sprintf("group-%010d", j)) // as much as its place in the list
			}
		}},
		"many groups": {700, func(a *store.Account, i int) {
			a.Groups = nil
			for j := range 32 {
				a.Groups = append(a.Groups, fmt.Sprintf("group-%02d-%s", j, strings.Repeat("g", 55)))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			backend := openCached(t, cacheBytes)
			var all sync.WaitGroup
			numbers := make(chan int)
			for range 64 {
				all.Go(func() {
					for i := range numbers {
						made := account(i)
						test.set(made, i)
						assert.NoError(t, backend.Create(bg, made))
					}
				})
			}
			for i := range test.count {
				numbers <- i
			}
			close(numbers)
			all.Wait()
			before := liveHeap()
			for i := range test.count {
				_, err := backend.FindByID(bg, account(i).ID)
				require.NoError(t, err)
			}
			taken := liveHeap() - before
			t.Logf("%d KiB", taken>>10)
			assert.Greater(t, taken, int64(cacheBytes/2))
			assert.Less(t, taken, int64(cacheBytes*5/4))
			runtime.KeepAlive(backend)
		})
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // the first one may leave what pools hold
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestClosedStoreForgets: an account that was read is not found after Close.
func TestClosedStoreForgets(t *testing.T) {
	backend := openCached(t, 0)
	require.NoError(t, backend.Create(bg, account(1)))
	for range 2 {
		_, err := backend.FindByID(bg, account(1).ID)
		require.NoError(t, err)
	}
	require.NoError(t, backend.Close())
	_, err := backend.FindByID(bg, account(1).ID)
	assert.ErrorIs(t, err, store.ErrUnavailable)
}

// TestChangeGetsItsOwnCopy: a change that is refused leaves no trace in what others read, from
// the cache or not.
func TestChangeGetsItsOwnCopy(t *testing.T) {
	backend := openCached(t, 0)
	require.NoError(t, backend.Create(bg, account(1)))
	refusal := errors.New("refused")
	for range 2 {
		_, err := backend.FindByID(bg, account(1).ID)
		require.NoError(t, err)
		require.ErrorIs(t, backend.Update(bg, account(1).ID, func(a *store.Account) error {
			a.Name, a.Groups[0], a.Sessions[0].Generation = "changed", "changed", 99
			return refusal
		}), refusal)
		found, err := backend.FindByID(bg, account(1).ID)
		require.NoError(t, err)
		assert.Equal(t, account(1), found)
	}
}

// TestChangesOfOneAccountAddUp: writers that share a transaction change one account, while a
// reader brings it back into the cache all the time.
func TestChangesOfOneAccountAddUp(t *testing.T) {
	const writers, changes = 16, 30
	backend := openCached(t, 0)
	require.NoError(t, backend.Create(bg, account(1)))
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range changes {
				_, err := backend.FindByID(bg, account(1).ID)
				assert.NoError(t, err)
				assert.NoError(t, backend.Update(bg, account(1).ID, func(a *store.Account) error {
					a.Sessions[0].Generation++
					return nil
				}))
			}
		})
	}
	all.Wait()
	found, err := backend.FindByID(bg, account(1).ID)
	require.NoError(t, err)
	assert.EqualValues(t, account(1).Sessions[0].Generation+writers*changes, found.Sessions[0].Generation)
}

// TestChangedAccountIsNotWritten: a caller that changes an account it was given, against the rules,
// does not get the change into the file with the next write.
func TestChangedAccountIsNotWritten(t *testing.T) {
	for _, cacheBytes := range []int64{0, -1} {
		path := filepath.Join(t.TempDir(), "test.db")
		backend, err := boltstore.Open(path, boltstore.Config{CacheBytes: cacheBytes})
		require.NoError(t, err)
		require.NoError(t, backend.Create(bg, account(1)))
		for range 2 {
			found, err := backend.FindByID(bg, account(1).ID)
			require.NoError(t, err)
			found.Groups[0], found.Name = "admin", "changed"
		}
		require.NoError(t, backend.Update(bg, account(1).ID, func(a *store.Account) error {
			a.Phone = "1"
			return nil
		}))
		require.NoError(t, backend.Close())
		backend = open(t, path)
		found, err := backend.FindByID(bg, account(1).ID)
		require.NoError(t, err)
		want := account(1)
		want.Phone = "1"
		assert.Equal(t, want, found)
	}
}

// TestUnknownMembersAreNotCached: nobody knows how large the members are that a newer version has
// written, so they cannot fill the memory.
func TestUnknownMembersAreNotCached(t *testing.T) {
	const cacheBytes, count = 1 << 20, 20
	backend := openCached(t, cacheBytes)
	for i := range count {
		made := account(i)
		made.Unknown = map[string]any{"large": strings.Repeat("x", cacheBytes)}
		require.NoError(t, backend.Create(bg, made))
	}
	before := liveHeap()
	for i := range count {
		found, err := backend.FindByID(bg, account(i).ID)
		require.NoError(t, err)
		require.Len(t, found.Unknown["large"], cacheBytes)
	}
	assert.Less(t, liveHeap()-before, int64(2*cacheBytes))
	runtime.KeepAlive(backend)
}
