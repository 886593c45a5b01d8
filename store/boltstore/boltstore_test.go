package boltstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/storetest"
)

func open(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	backend, err := boltstore.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	return backend
}

func TestBackend(t *testing.T) {
	storetest.Test(t, func(t *testing.T) store.Backend {
		return open(t, filepath.Join(t.TempDir(), "test.db"))
	})
}

// fill makes a file with so many accounts that it has branch pages.
func fill(t *testing.T, path string, accounts int) {
	t.Helper()
	backend := open(t, path)
	var all sync.WaitGroup
	for i := range accounts {
		all.Go(func() {
			name := fmt.Sprintf("account-%d", i)
			assert.NoError(t, backend.Create(t.Context(), &store.Account{
				ID: store.NewID(), Name: name, Email: name + "@example.org", EmailKey: name + "@example.org",
			}))
		})
	}
	all.Wait()
	require.NoError(t, backend.Close())
}

func TestReopenKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 500)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	backend := open(t, path)
	for i := range 500 {
		_, err := backend.FindByName(t.Context(), fmt.Sprintf("account-%d", i))
		require.NoError(t, err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing is left beside the file")
}

func TestClosedIsUnavailable(t *testing.T) {
	backend := open(t, filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, backend.Close())
	_, err := backend.FindByID(t.Context(), store.NewID())
	assert.ErrorIs(t, err, store.ErrUnavailable)
	assert.ErrorIs(t, backend.Create(t.Context(), &store.Account{ID: store.NewID(), Name: "a", EmailKey: "b"}), store.ErrUnavailable)
	assert.ErrorIs(t, backend.Ping(t.Context()), store.ErrUnavailable)
}

func TestOpenRefuses(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	fill(t, whole, 500)
	content, err := os.ReadFile(whole)
	require.NoError(t, err)

	bolt := func(change func(*bbolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			db, err := bbolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(change))
			require.NoError(t, db.Close())
		}
	}
	setFormat := func(value string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, content, 0o600))
			bolt(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte(value)) })(t, path)
		}
	}
	write := func(content []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, content, 0o600)) }
	}
	for name, test := range map[string]struct {
		prepare func(*testing.T, string)
		want    error
	}{
		"empty":               {write(nil), boltstore.ErrDamaged},
		"text":                {write([]byte("this is no database\n")), boltstore.ErrForeign},
		"long text":           {write(make([]byte, 1<<20)), boltstore.ErrForeign},
		"cut to one page":     {write(content[:4096]), boltstore.ErrDamaged},
		"cut to four pages":   {write(content[:4*4096]), boltstore.ErrDamaged},
		"cut in half":         {write(content[:len(content)/2]), boltstore.ErrDamaged},
		"other program's":     {bolt(func(*bbolt.Tx) error { return nil }), boltstore.ErrForeign},
		"newer format":        {setFormat("2"), boltstore.ErrNewer},
		"format is no number": {setFormat("one"), boltstore.ErrForeign},
		"in use":              {func(t *testing.T, path string) { open(t, path) }, boltstore.ErrInUse},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			test.prepare(t, path)
			_, err := boltstore.Open(path)
			require.ErrorIs(t, err, test.want)
			assert.ErrorContains(t, err, path)
			assert.NotContains(t, err.Error(), "\n", "one sentence")
		})
	}
	t.Run("directory", func(t *testing.T) {
		_, err := boltstore.Open(t.TempDir())
		require.Error(t, err)
	})
	t.Run("no such directory", func(t *testing.T) {
		_, err := boltstore.Open(filepath.Join(t.TempDir(), "no", "such.db"))
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

// TestDamageNeverPanics spoils files at random. Some damage lies in free pages or
// in values and is not seen by the check at the start; none may end the process.
func TestDamageNeverPanics(t *testing.T) {
	directory := t.TempDir()
	whole := filepath.Join(directory, "whole.db")
	fill(t, whole, 300)
	content, err := os.ReadFile(whole)
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for round := range 400 {
		damaged := append([]byte(nil), content...)
		for range 1 + random.IntN(8) {
			// Page and element headers are at the start of pages.
			page := random.IntN(len(content) / 4096)
			at := page*4096 + random.IntN(64)
			if round%2 == 0 {
				at = random.IntN(len(content))
			}
			damaged[at] = byte(random.Uint32())
		}
		path := filepath.Join(directory, fmt.Sprint("damaged", round))
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		backend, err := boltstore.Open(path)
		if err != nil {
			refused++
			assert.True(t, errors.Is(err, boltstore.ErrDamaged) || errors.Is(err, boltstore.ErrForeign) || errors.Is(err, boltstore.ErrNewer), "got %v", err)
		} else {
			for i := range 300 {
				_, _ = backend.FindByName(t.Context(), fmt.Sprintf("account-%d", i))
			}
			require.NoError(t, backend.Close())
		}
		require.NoError(t, os.Remove(path))
	}
	assert.Greater(t, refused, 100)
}

// TestWriterLeavesQueue: a caller whose context ends while it waits behind
// another writer leaves, and its work is never done.
func TestWriterLeavesQueue(t *testing.T) {
	backend := open(t, filepath.Join(t.TempDir(), "test.db"))
	slow := &store.Account{ID: store.NewID(), Name: "slow", EmailKey: "slow"}
	quick := &store.Account{ID: store.NewID(), Name: "quick", EmailKey: "quick"}
	require.NoError(t, backend.Create(t.Context(), slow))
	require.NoError(t, backend.Create(t.Context(), quick))

	entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		left <- backend.Update(t.Context(), slow.ID, func(*store.Account) error {
			close(entered)
			<-leave
			return nil
		})
	}()
	<-entered
	ctx, cancel := contextThatEndsWhenWaitedFor(t)
	defer cancel()
	err := backend.Update(ctx, quick.ID, func(*store.Account) error {
		t.Error("the work was done")
		return nil
	})
	assert.ErrorIs(t, err, ctx.Err())
	close(leave)
	require.NoError(t, <-left)
	require.NoError(t, backend.Ping(t.Context()))
}

func TestManyWritersAndReaders(t *testing.T) {
	backend := open(t, filepath.Join(t.TempDir(), "test.db"))
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			name := fmt.Sprintf("account-%d", i)
			account := &store.Account{ID: store.NewID(), Name: name, EmailKey: name}
			assert.NoError(t, backend.Create(t.Context(), account))
			for range 5 {
				assert.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
					a.Modified = a.Modified.Add(time.Second)
					return nil
				}))
				_, err := backend.FindByName(t.Context(), name)
				assert.NoError(t, err)
			}
		})
	}
	all.Wait()
}
