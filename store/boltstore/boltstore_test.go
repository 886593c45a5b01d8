package boltstore_test

import (
	"bytes"
	"fmt"
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

func TestBackend(t *testing.T) {
	for name, cacheBytes := range map[string]int64{"cache": 0, "small cache": 2 << 10, "no cache": -1} {
		t.Run(name, func(t *testing.T) {
			storetest.Test(t, func(t *testing.T) store.Backend {
				backend, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Config{CacheBytes: cacheBytes})
				require.NoError(t, err)
				t.Cleanup(func() { _ = backend.Close() })
				return backend
			})
		})
	}
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
	made := account(500)
	made.ID = store.ID{11: 1}
	for i := range made.ID {
		made.ID[i] |= 0xF0
	}
	require.NoError(t, backend.Create(t.Context(), made))
	require.NoError(t, backend.Close())
	found, err := open(t, path).FindByID(t.Context(), made.ID)
	require.NoError(t, err)
	assert.Equal(t, made, found)
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
	t.Parallel()
	_, err := boltstore.Open("", boltstore.Config{}) // a variable that is not set
	assert.ErrorContains(t, err, "the path is empty")
	content := filled(t, 500)
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
		"newer format":        {setFormat("4"), boltstore.ErrNewer},
		"format 0":            {setFormat("0"), boltstore.ErrForeign},
		"negative format":     {setFormat("-1"), boltstore.ErrForeign},
		"format is no number": {setFormat("one"), boltstore.ErrForeign},
		"in use":              {func(t *testing.T, path string) { open(t, path) }, boltstore.ErrInUse},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			test.prepare(t, path)
			_, err := boltstore.Open(path, boltstore.Config{})
			require.ErrorIs(t, err, test.want)
			assert.ErrorContains(t, err, path)
			assert.NotContains(t, err.Error(), "\n", "one sentence")
		})
	}
	t.Run("directory", func(t *testing.T) {
		_, err := boltstore.Open(t.TempDir(), boltstore.Config{})
		require.Error(t, err)
	})
	t.Run("no such directory", func(t *testing.T) {
		_, err := boltstore.Open(filepath.Join(t.TempDir(), "no", "such.db"), boltstore.Config{})
		require.ErrorIs(t, err, os.ErrNotExist)
	})
}

// TestWriterLeavesQueue checks a caller whose context ends while it waits for another writer.
// It returns, and its work is never done.
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

// TestFileOfAnotherMachine: the system that made the file may have larger or smaller pages.
func TestFileOfAnotherMachine(t *testing.T) {
	const accounts = 50
	original := filepath.Join(t.TempDir(), "original.db")
	fill(t, original, accounts)
	for _, pageSize := range []int{1 << 9, 1 << 10, 1 << 12, 1 << 14, 1 << 16} {
		path := filepath.Join(t.TempDir(), "test.db")
		copyWithPages(t, original, path, pageSize)
		assertWhole(t, path, accounts)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		for header := range 2 {
			damaged := bytes.Clone(content)
			damaged[header*pageSize+16+30]++
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			_, err := boltstore.Open(path, boltstore.Config{})
			require.ErrorIs(t, err, boltstore.ErrDamaged, "header %d of pages of %d bytes", header, pageSize)
			assert.ErrorContains(t, err, "AcceptLostWrite")
		}
		damaged := bytes.Clone(content)
		damaged[16+30]++
		damaged[pageSize+16+30]++
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		_, err = boltstore.Open(path, boltstore.Config{AcceptLostWrite: true})
		assert.ErrorIs(t, err, boltstore.ErrDamaged, "both headers")
	}
}

// copyWithPages copies a file into one with pages of another size.
func copyWithPages(t *testing.T, from, to string, pageSize int) {
	t.Helper()
	db, err := bbolt.Open(to, 0o600, &bbolt.Options{PageSize: pageSize})
	require.NoError(t, err)
	edit(t, from, func(old *bbolt.Tx) error {
		return db.Update(func(tx *bbolt.Tx) error {
			return old.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
				copied, err := tx.CreateBucket(name)
				require.NoError(t, err)
				return bucket.ForEach(func(key, value []byte) error { return copied.Put(key, value) })
			})
		})
	})
	require.NoError(t, db.Close())
}
