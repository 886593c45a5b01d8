//go:build unix

package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// TestLiveDamage overwrites or truncates the file while readers and writers are at work. None
// of them may hang, panic or get the record of another account. Close must return, and the
// file can be locked again.
//
// OAUTHSV_TEST_LIVE_DAMAGES is how often it damages the file, 24 times by default.
func TestLiveDamage(t *testing.T) {
	const accounts = 60
	rounds := number(t, "OAUTHSV_TEST_LIVE_DAMAGES", 24)
	content := filled(t, accounts)
	random := rand.New(rand.NewPCG(5, 6))
	failed := 0
	// Noise in the list of free pages between the check before a commit and the commit itself would
	// not be seen. So no write is under way when pages are overwritten with noise.
	var writing sync.RWMutex
	for round := range rounds {
		path := filepath.Join(t.TempDir(), "test.db")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		backend, err := boltstore.Open(path, boltstore.Config{
			Logger: slog.New(slog.DiscardHandler), CacheBytes: -int64(round / 6 % 2), // every other time a kind of damage comes, all reads meet it
		})
		require.NoError(t, err)
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)

		ctx, cancel := context.WithCancel(t.Context())
		calls := make(chan struct{}, 1<<16)
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					err := liveCall(backend, &writing, worker+i*8, accounts)
					assert.True(t, err == nil || errors.Is(err, store.ErrUnavailable), "round %d: %v", round, err)
					select {
					case calls <- struct{}{}:
					default:
					}
				}
			})
		}
		wait := func(n int) {
			late := time.After(30 * time.Second)
			for range n {
				select {
				case <-calls:
				case <-late:
					hangs(fmt.Sprint("somebody in round ", round))
				}
			}
		}
		wait(20)
		kind := liveDamage(t, file, &writing, random, round)
		wait(1000)
		cancel()
		waitFor(&all)
		if err := backend.Ping(t.Context()); err != nil {
			assert.ErrorIs(t, err, store.ErrUnavailable)
			failed++
		}
		closed := make(chan struct{})
		go func() { _ = backend.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(30 * time.Second):
			hangs(fmt.Sprintf("Close in round %d, after %s", round, kind))
		}
		assert.ErrorIs(t, backend.Ping(t.Context()), store.ErrUnavailable)
		require.NoError(t, file.Truncate(0))
		_, err = file.WriteAt(content, 0)
		require.NoError(t, errors.Join(err, file.Close()))
		restored, err := boltstore.Open(path, boltstore.Config{})
		if assert.NoError(t, err, "round %d, %s: the lock was not released", round, kind) {
			require.NoError(t, restored.Close())
		}
		require.NoError(t, os.Remove(path))
	}
	t.Logf("%d damages, of which %d made the store fail", rounds, failed)
	assert.Positive(t, failed)
}

// hangs prints all stacks and ends the test binary, because a call that hangs cannot be
// cleaned up.
func hangs(who string) {
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 2)
	panic(who + " hangs")
}

func waitFor(all *sync.WaitGroup) {
	ended := make(chan struct{})
	go func() { all.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		hangs("somebody")
	}
}

var errWrong = errors.New("a wrong answer")

// liveCall makes one call, and returns errWrong for the record of another account.
func liveCall(backend *boltstore.Store, writing *sync.RWMutex, i, accounts int) error {
	want := account(i % accounts)
	var got *store.Account
	var err error
	switch i % 7 {
	case 0:
		got, err = backend.FindByID(bg, want.ID)
	case 1:
		got, err = backend.FindByName(bg, want.Name)
	case 2:
		got, err = backend.FindByEmail(bg, want.EmailKey)
	case 3:
		writing.RLock()
		defer writing.RUnlock()
		return backend.Update(bg, want.ID, func(a *store.Account) error {
			if a.PasswordHash != want.PasswordHash {
				return errWrong
			}
			a.Sessions[0].Generation++
			return nil
		})
	case 4:
		writing.RLock()
		defer writing.RUnlock()
		return putRecord(backend, i%accounts)
	case 5: // it writes after a commit that failed
		writing.RLock()
		defer writing.RUnlock()
		return backend.Ping(bg)
	case 6:
		return livePage(backend, i, accounts)
	}
	if err == nil && (got.ID != want.ID || got.Name != want.Name || got.PasswordHash != want.PasswordHash || got.Disabled != want.Disabled) {
		return errWrong
	}
	return err
}

// livePage reads a page of a list, and returns errWrong if it has another account, or not all.
func livePage(backend *boltstore.Store, i, accounts int) error {
	first := i / 7 % accounts
	list := store.List{Limit: 1 + i%accounts}
	want := min(list.Limit, accounts-first)
	switch i / 7 % 4 {
	case 1:
		list.By, list.Match = store.ListByGroup, "editors"
	case 2:
		list.By, want = store.ListByName, min(list.Limit, accounts)
	case 3:
		list.By, want = store.ListByEmail, min(list.Limit, accounts)
	}
	if list.By == store.ListByID || list.By == store.ListByGroup {
		if first > 0 {
			list.After = account(first - 1).ID.Hex()
		}
	}
	page, err := backend.List(bg, list)
	if err != nil {
		return err
	}
	if len(page) != want {
		return errWrong
	}
	for at, got := range page {
		var number int
		if _, err := fmt.Sscanf(got.Name, "account-%d", &number); err != nil || got.ID != account(number).ID {
			return errWrong
		}
		if (list.By == store.ListByID || list.By == store.ListByGroup) && number != first+at {
			return errWrong
		}
		if at > 0 && list.By == store.ListByName && got.Name <= page[at-1].Name || at > 0 && list.By == store.ListByEmail && got.EmailKey <= page[at-1].EmailKey {
			return errWrong
		}
	}
	return nil
}

// liveDamage does one of six kinds of damage, and says which.
func liveDamage(t *testing.T, file *os.File, writing *sync.RWMutex, random *rand.Rand, round int) string {
	t.Helper()
	info, err := file.Stat()
	require.NoError(t, err)
	noise := func(n int) []byte {
		text := make([]byte, n)
		for i := range text {
			text[i] = byte(random.Uint32())
		}
		return text
	}
	size := info.Size()
	page := random.Int64N(min(size, 200<<10)/4096) * 4096
	switch round % 6 {
	case 0:
		require.NoError(t, file.Truncate(0))
		return "cut to nothing"
	case 1:
		require.NoError(t, file.Truncate(page+random.Int64N(4096)))
		return "cut"
	case 2:
		_, err = file.WriteAt(noise(8192), 0)
		err = errors.Join(err, file.Sync())
		require.NoError(t, err)
		return "both headers"
	case 3:
		writing.Lock()
		defer writing.Unlock()
		_, err = file.WriteAt(noise(4096), page)
		require.NoError(t, err)
		return "a page"
	case 4:
		writing.Lock()
		defer writing.Unlock()
		for range 20 {
			_, err = file.WriteAt(noise(64), random.Int64N(min(size, 200<<10)/4096)*4096)
			require.NoError(t, err)
		}
		return "heads of pages"
	}
	_, err = file.WriteAt(make([]byte, size), 0)
	require.NoError(t, err)
	return "all zero"
}
