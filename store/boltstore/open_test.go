package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// TestLeftOversAreSwept checks that Open removes the temporary files of processes that were
// killed while they made the file. Other files, and the temporary file of a running
// process, stay.
func TestLeftOversAreSwept(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "test.db")
	const old, making = "test.db.ABCDEFGHIJKLMNOPQRSTUVWXYZ", "test.db.ABCDEFGHIJKLMNOPQRSTUVW234"
	kept := []string{"test.db.bak", "test.db.abcdefghijklmnopqrstuvwxyz", "test.db.ABCDEFGHIJKLMNOPQRSTUVWX", "other.db.ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
	for _, name := range append(kept, old) {
		require.NoError(t, os.WriteFile(filepath.Join(directory, name), []byte("x"), 0o600))
	}
	if runtime.GOOS != "windows" { // where links need a privilege
		const link = "test.db.LINKLINKLINKLINKLINKLINKLI"
		require.NoError(t, os.Symlink("test.db.bak", filepath.Join(directory, link)))
		kept = append(kept, link)
	}
	db, err := bbolt.Open(filepath.Join(directory, making), 0o600, nil)
	require.NoError(t, err)
	defer db.Close()
	open(t, path)
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	assert.ElementsMatch(t, append(kept, making, "test.db"), names)
}

// TestOneOfManyMakesTheFile: many open a file at once that is not there. One of them gets it, and
// the others are told that it is in use.
func TestOneOfManyMakesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	var all sync.WaitGroup
	var opened atomic.Int64
	for range 64 {
		all.Go(func() {
			backend, err := boltstore.Open(path, boltstore.Config{})
			if err != nil {
				assert.ErrorIs(t, err, boltstore.ErrInUse)
				return
			}
			opened.Add(1)
			t.Cleanup(func() { _ = backend.Close() })
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, opened.Load())
}

// TestRefusedOpenReleasesLock checks that after a refusal the same process can open the file
// once it is restored.
func TestRefusedOpenReleasesLock(t *testing.T) {
	content := filled(t, 300)
	for at := 0; at < len(content); at += 4096 {
		path := filepath.Join(t.TempDir(), "test.db")
		damaged := bytes.Clone(content)
		copy(damaged[at:], bytes.Repeat([]byte{0xA5}, 4096))
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		if backend, err := boltstore.Open(path, boltstore.Config{}); err == nil {
			require.NoError(t, backend.Close()) // a free page
		}
		db, err := bbolt.Open(filepath.Join(t.TempDir(), "other.db"), 0o600, nil)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		file, err := os.OpenFile(path, os.O_RDWR, 0) // the same file, not a new one
		require.NoError(t, err)
		_, err = file.WriteAt(content, 0)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		backend, err := boltstore.Open(path, boltstore.Config{})
		require.NoError(t, err, "page at %d", at)
		require.NoError(t, backend.Close())
	}
}

// logged sends each line of a log to a channel.
type logged chan string

func (l logged) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

func openInBackground(t *testing.T, path string) (*boltstore.Store, logged) {
	t.Helper()
	lines := make(logged, 10)
	backend, err := boltstore.Open(path, boltstore.Config{CheckInBackground: true, Logger: slog.New(slog.NewTextHandler(lines, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	return backend, lines
}

func TestCheckInBackground(t *testing.T) {
	content := filled(t, 300)
	path := filepath.Join(t.TempDir(), "test.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))

	t.Run("whole", func(t *testing.T) {
		backend, lines := openInBackground(t, path)
		for i := range 50 { // the check reads the file as it was before these writes
			require.NoError(t, backend.Delete(t.Context(), account(i).ID))
			require.NoError(t, backend.Create(t.Context(), account(i)))
		}
		assert.Contains(t, <-lines, "level=INFO")
		require.NoError(t, backend.Ping(t.Context()))
		_, wrong := answers(backend, 300)
		assert.NoError(t, wrong)
	})
	t.Run("damaged", func(t *testing.T) {
		damagedPath := filepath.Join(t.TempDir(), "test.db")
		require.NoError(t, os.WriteFile(damagedPath, content, 0o600))
		edit(t, damagedPath, func(tx *bbolt.Tx) error {
			key, _ := tx.Bucket([]byte("names")).Cursor().First()
			return tx.Bucket([]byte("names")).Delete(key)
		})
		backend, lines := openInBackground(t, damagedPath)
		line := <-lines
		assert.Contains(t, line, "level=ERROR")
		assert.Contains(t, line, "names")
		err := backend.Ping(t.Context())
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.ErrorIs(t, err, boltstore.ErrDamaged)
		_, err = backend.FindByID(t.Context(), account(1).ID)
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.ErrorIs(t, backend.Create(t.Context(), account(301)), store.ErrUnavailable)
		require.NoError(t, backend.Close())
		_, err = boltstore.Open(damagedPath, boltstore.Config{})
		assert.ErrorIs(t, err, boltstore.ErrDamaged, "and not in use")
	})
	t.Run("closed", func(t *testing.T) {
		for range 20 { // Close ends the check at any point
			backend, _ := openInBackground(t, path)
			require.NoError(t, backend.Close())
		}
		open(t, path)
	})
	t.Run("old format", func(t *testing.T) {
		oldPath := filepath.Join(t.TempDir(), "test.db")
		writeFormat1(t, oldPath, 100)
		edit(t, oldPath, func(tx *bbolt.Tx) error {
			key, _ := tx.Bucket([]byte("names")).Cursor().First()
			return tx.Bucket([]byte("names")).Delete(key)
		})
		_, err := boltstore.Open(oldPath, boltstore.Config{CheckInBackground: true})
		assert.ErrorIs(t, err, boltstore.ErrDamaged, "checked before")
	})
}

// TestNoCheck shows what one gives up: damage that the check would find is met later, or not at
// all. A damaged record is refused all the same.
func TestNoCheck(t *testing.T) {
	content := filled(t, 300)
	openUnchecked := func(t *testing.T, change func(tx *bbolt.Tx) error) (*boltstore.Store, error) {
		path := filepath.Join(t.TempDir(), "test.db")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		edit(t, path, change)
		backend, err := boltstore.Open(path, boltstore.Config{NoCheck: true})
		if err == nil {
			t.Cleanup(func() { _ = backend.Close() })
		}
		return backend, err
	}
	t.Run("whole", func(t *testing.T) {
		backend, err := openUnchecked(t, func(*bbolt.Tx) error { return nil })
		require.NoError(t, err)
		require.NoError(t, backend.Create(t.Context(), account(300)))
		unavailable, wrong := answers(backend, 300)
		assert.NoError(t, wrong)
		assert.Zero(t, unavailable)
	})
	t.Run("an index", func(t *testing.T) {
		backend, err := openUnchecked(t, func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("names")).Delete([]byte(account(7).Name))
		})
		require.NoError(t, err)
		_, err = backend.FindByName(t.Context(), account(7).Name)
		assert.ErrorIs(t, err, store.ErrNotFound)
		assert.NoError(t, backend.Ping(t.Context()))
	})
	t.Run("a record", func(t *testing.T) {
		backend, err := openUnchecked(t, func(tx *bbolt.Tx) error {
			id := account(7).ID
			bucket := tx.Bucket([]byte("accounts"))
			value := bytes.Clone(bucket.Get(id[:]))
			value[len(value)/2]++
			return bucket.Put(id[:], value)
		})
		require.NoError(t, err)
		_, err = backend.FindByID(t.Context(), account(7).ID)
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.ErrorIs(t, err, boltstore.ErrDamaged)
	})
	t.Run("entries that lead astray, with right checksums", func(t *testing.T) {
		set := func(tx *bbolt.Tx, table string, key, value []byte) error {
			return tx.Bucket([]byte(table)).Put(key, sealed(table, key, value))
		}
		one, other, nobody, ten := account(7), account(8), account(300), account(10).ID
		backend, err := openUnchecked(t, func(tx *bbolt.Tx) error {
			record := tx.Bucket([]byte("accounts")).Get(other.ID[:])
			return errors.Join(
				set(tx, "names", []byte(one.Name), other.ID[:]),
				set(tx, "emails", []byte(one.EmailKey), other.ID[:]),
				set(tx, "names", []byte(account(9).Name), nobody.ID[:]),
				set(tx, "accounts", ten[:], bytes.Clone(record[:len(record)-4])))
		})
		require.NoError(t, err)
		for what, find := range map[string]func() (*store.Account, error){
			"the name of another":   func() (*store.Account, error) { return backend.FindByName(bg, one.Name) },
			"the e-mail of another": func() (*store.Account, error) { return backend.FindByEmail(bg, one.EmailKey) },
			"a name of nobody":      func() (*store.Account, error) { return backend.FindByName(bg, account(9).Name) },
			"the record of another": func() (*store.Account, error) { return backend.FindByID(bg, account(10).ID) },
		} {
			_, err := find()
			assert.ErrorIs(t, err, boltstore.ErrDamaged, what)
		}
		for _, by := range []store.ListKey{store.ListByID, store.ListByName, store.ListByEmail} {
			_, err := backend.List(bg, store.List{By: by, Limit: 300})
			assert.ErrorIs(t, err, boltstore.ErrDamaged, "list %d", by)
		}
	})
	t.Run("what is read at once", func(t *testing.T) {
		_, err := openUnchecked(t, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("names")) })
		assert.ErrorIs(t, err, boltstore.ErrDamaged)
	})
	t.Run("old format", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		writeFormat1(t, path, 100)
		edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("names")).Delete([]byte(account(7).Name)) })
		_, err := boltstore.Open(path, boltstore.Config{NoCheck: true})
		assert.ErrorIs(t, err, boltstore.ErrDamaged, "checked before")
	})
	t.Run("in the background", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		_, err := boltstore.Open(path, boltstore.Config{NoCheck: true, CheckInBackground: true})
		assert.ErrorContains(t, err, "NoCheck")
		assert.NoFileExists(t, path)
	})
}

// TestCloseWaitsForBackup checks also that calls after Close are refused and do not hang.
func TestCloseWaitsForBackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	backend := open(t, path)
	entered, leave := make(chan struct{}), make(chan struct{})
	var copied int64
	ended := make(chan error)
	go func() {
		var err error
		copied, err = backend.WriteTo(slowWriter{entered, leave})
		ended <- err
	}()
	<-entered
	closed := make(chan error)
	go func() { closed <- backend.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	close(leave)
	require.NoError(t, <-ended)
	require.NoError(t, <-closed)
	assert.Positive(t, copied)
	assert.ErrorIs(t, backend.Ping(ctx), store.ErrUnavailable)
	assert.False(t, strings.HasSuffix(backend.Ping(ctx).Error(), "\n"))
}

type slowWriter struct{ entered, leave chan struct{} }

func (w slowWriter) Write(p []byte) (int, error) {
	select {
	case <-w.leave:
	case w.entered <- struct{}{}:
		<-w.leave
	}
	return len(p), nil
}
