package boltstore_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// TestBackupUnderLoad copies a file while 16 writers write. At least one write succeeds between any
// two parts of a copy. Each copy opens without damage and holds every write that succeeded before.
func TestBackupUnderLoad(t *testing.T) {
	directory := t.TempDir()
	backend := open(t, filepath.Join(directory, "test.db"))
	const writers = 16
	var answered [writers]atomic.Int64 // the generation of the writer's session
	var stop atomic.Bool
	var all sync.WaitGroup
	for i := range writers {
		require.NoError(t, backend.Create(t.Context(), account(i)))
		answered[i].Store(7)
		all.Go(func() {
			for n := 0; !stop.Load(); n++ {
				var generation int64
				assert.NoError(t, backend.Update(t.Context(), account(i).ID, func(a *store.Account) error {
					a.Sessions[0].Generation++
					a.PasswordHash = string(make([]byte, n%3000))
					generation = a.Sessions[0].Generation
					return nil
				}))
				answered[i].Store(generation)
				assert.NoError(t, backend.Create(t.Context(), writersAccount(i, n)))
				if n >= 10 {
					assert.NoError(t, backend.Delete(t.Context(), writersAccount(i, n-10).ID))
				}
			}
		})
	}
	defer all.Wait()
	defer stop.Store(true)
	for round := range 4 {
		var before [writers]int64
		for i := range writers {
			before[i] = answered[i].Load()
		}
		path := filepath.Join(directory, fmt.Sprint("copy-", round))
		file, err := os.Create(path)
		require.NoError(t, err)
		n, err := backend.WriteTo(changingWriter{file, func() {
			assert.NoError(t, backend.Update(t.Context(), account(0).ID, func(a *store.Account) error {
				a.Sessions[0].Generation++
				return nil
			}))
		}})
		require.NoError(t, err)
		info, err := file.Stat()
		require.NoError(t, err)
		assert.Equal(t, info.Size(), n)
		require.NoError(t, file.Close())

		restored := open(t, path)
		for i := range writers {
			found, err := restored.FindByName(t.Context(), account(i).Name)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, found.Sessions[0].Generation, before[i], "answered before the call")
		}
		made := everyone(t, restored, store.List{By: store.ListByID})
		for _, list := range []store.List{{By: store.ListByName}, {By: store.ListByEmail}, {By: store.ListByGroup, Match: "editors"}} {
			assert.Len(t, everyone(t, restored, list), len(made), "all indexes are of one moment")
		}
		require.NoError(t, restored.Create(t.Context(), account(writers)))
		require.NoError(t, restored.Close())
		require.NoError(t, os.Remove(path))
	}
}

// writersAccount returns account number n of a writer.
func writersAccount(writer, n int) *store.Account {
	made := account(1000 + writer)
	made.ID[5], made.ID[6], made.ID[7] = 1, byte(n>>8), byte(n)
	made.Name = fmt.Sprint(made.Name, "-", n)
	made.EmailKey = made.Name
	return made
}

// changingWriter calls change before each write.
type changingWriter struct {
	to     io.Writer
	change func()
}

func (w changingWriter) Write(p []byte) (int, error) {
	w.change()
	return w.to.Write(p)
}

type badWriter struct{ err error }

func (w badWriter) Write([]byte) (int, error) {
	if w.err == nil {
		panic("mine")
	}
	return 0, w.err
}

// TestBackupWriterFails checks that the caller gets the error or the panic of the writer, and
// that the store goes on working.
func TestBackupWriterFails(t *testing.T) {
	backend := open(t, filepath.Join(t.TempDir(), "test.db"))
	full := errors.New("full")
	n, err := backend.WriteTo(badWriter{full})
	assert.ErrorIs(t, err, full)
	assert.NotErrorIs(t, err, store.ErrUnavailable)
	assert.Zero(t, n)
	assert.PanicsWithValue(t, "mine", func() { _, _ = backend.WriteTo(badWriter{}) })
	require.NoError(t, backend.Create(t.Context(), account(1)))
	require.NoError(t, backend.Close())
	_, err = backend.WriteTo(badWriter{full})
	assert.ErrorIs(t, err, store.ErrUnavailable)
}

// TestBackupOfFileThatWasCut: what cannot be read is no success.
func TestBackupOfFileThatWasCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 100)
	backend := open(t, path)
	require.NoError(t, os.Truncate(path, 3*int64(os.Getpagesize())))
	n, err := backend.WriteTo(io.Discard)
	assert.ErrorContains(t, err, "reading for the backup")
	assert.EqualValues(t, 3*os.Getpagesize(), n)
}
