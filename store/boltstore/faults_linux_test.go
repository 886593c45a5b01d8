package boltstore_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// What an operator sees of a fault, and that its repair brings everything back. Some faults
// need a process of their own: limits and users belong to a process.

func init() {
	children["open unprivileged"] = runOpenUnprivileged
	children["hold"] = runHold
}

// runOpenUnprivileged opens the file as a user to whom its mode matters.
func runOpenUnprivileged(path string) error {
	if os.Geteuid() == 0 {
		if err := syscall.Setuid(65534); err != nil {
			return err
		}
	}
	return runOpen(path)
}

// runHold keeps the file open until its standard input ends.
func runHold(path string) error {
	backend, err := boltstore.Open(path, boltstore.Config{})
	if err != nil {
		return err
	}
	if err := backend.Create(bg, account(faultAccounts)); err != nil {
		return err
	}
	fmt.Println("held")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return backend.Close()
}

// publicDirectory is a directory that every user may use.
func publicDirectory(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("", "boltstore")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	require.NoError(t, os.Chmod(directory, 0o777))
	return directory
}

// TestFaultRefusesToOpen: Open says in one sentence what is wrong with which file. After the
// repair it finds everything that was written.
func TestFaultRefusesToOpen(t *testing.T) {
	t.Parallel()
	chmod := func(t *testing.T, path string, mode os.FileMode) { require.NoError(t, os.Chmod(path, mode)) }
	asUser := func(t *testing.T, path string) string { return childSays(t, "open unprivileged", path) }
	here := func(t *testing.T, path string) string {
		backend, err := boltstore.Open(path, boltstore.Config{})
		if err != nil {
			return err.Error()
		}
		require.NoError(t, backend.Close())
		return ""
	}
	for name, test := range map[string]struct {
		open   func(t *testing.T, path string) (says string)
		damage func(t *testing.T, path string) (repair func())
		says   []string
	}{
		"read-only file": {asUser, func(t *testing.T, path string) func() {
			chmod(t, path, 0o444)
			return func() { chmod(t, path, 0o666) }
		}, []string{"permission denied"}},
		"file of nobody": {asUser, func(t *testing.T, path string) func() {
			chmod(t, path, 0)
			return func() { chmod(t, path, 0o666) }
		}, []string{"permission denied"}},
		"closed directory": {asUser, func(t *testing.T, path string) func() {
			chmod(t, path, 0o666)
			chmod(t, filepath.Dir(path), 0)
			return func() { chmod(t, filepath.Dir(path), 0o777) }
		}, []string{"permission denied"}},
		"corrupt page": {here, func(t *testing.T, path string) func() {
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			corruptRecord(t, path)
			return func() { writeAt(t, path, whole, 0) } // from a backup
		}, []string{"damaged", "restore it from a backup"}},
		"cut off": {here, func(t *testing.T, path string) func() {
			whole, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(path, 3*4096))
			return func() { writeAt(t, path, whole, 0) }
		}, []string{"damaged or cut short", "the file has 12288 bytes, but should have", "restore it from a backup"}},
		"held by another process": {here, func(t *testing.T, path string) func() {
			release := hold(t, path)
			return func() { release(false) }
		}, []string{"in use by another process"}},
		"held by a process that is killed": {here, func(t *testing.T, path string) func() {
			release := hold(t, path)
			return func() { release(true) }
		}, []string{"in use by another process"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(publicDirectory(t), "test.db")
			fill(t, path, faultAccounts)
			repair := test.damage(t, path)
			says := test.open(t, path)
			assert.True(t, strings.HasPrefix(says, "boltstore: opening "+path+": "), says)
			assert.NotContains(t, says, "\n", "one sentence")
			for _, want := range test.says {
				assert.Contains(t, says, want)
			}

			repair()
			assert.Empty(t, test.open(t, path), "it opens again")
			backend := open(t, path)
			unavailable, wrong := answers(backend, faultAccounts)
			assert.NoError(t, wrong)
			assert.Zero(t, unavailable)
			if strings.HasPrefix(name, "held") {
				_, err := backend.FindByID(t.Context(), account(faultAccounts).ID)
				assert.NoError(t, err, "what the other process has written is there")
			}
		})
	}
}

func writeAt(t *testing.T, path string, content []byte, at int64) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = file.WriteAt(content, at)
	require.NoError(t, errors.Join(err, file.Close()))
}

// corruptRecord changes every copy of the record of account 7 that the file has: one is in
// use.
func corruptRecord(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	found := []byte("hash of account-7")
	require.True(t, bytes.Contains(content, found))
	writeAt(t, path, bytes.ReplaceAll(content, found, []byte("h4sh of account-7")), 0)
}

// hold has another process open the file and write an account.
func hold(t *testing.T, path string) (release func(kill bool)) {
	t.Helper()
	holder := child(t, "hold", path)
	input, err := holder.StdinPipe()
	require.NoError(t, err)
	output, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	line, err := bufio.NewReader(output).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	return func(kill bool) {
		if kill {
			require.NoError(t, holder.Process.Kill())
			require.Error(t, holder.Wait())
			return
		}
		require.NoError(t, input.Close())
		require.NoError(t, holder.Wait())
	}
}

// TestFaultWhileOpen: a fault that comes later is met by the calls that need what is broken.
func TestFaultWhileOpen(t *testing.T) {
	t.Parallel()
	t.Run("read-only", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		fill(t, path, faultAccounts)
		backend := open(t, path)
		require.NoError(t, os.Chmod(path, 0o400))
		assert.NoError(t, backend.Create(t.Context(), account(faultAccounts)), "an open file can still be written")
		assert.NoError(t, backend.Ping(t.Context()))
	})
	t.Run("another process tries to open it", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		fill(t, path, faultAccounts)
		backend := open(t, path)
		assert.Contains(t, childSays(t, "open", path), "in use by another process")
		assert.NoError(t, backend.Create(t.Context(), account(faultAccounts)))
		_, wrong := answers(backend, faultAccounts)
		assert.NoError(t, wrong)
	})
	t.Run("corrupt record", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		fill(t, path, faultAccounts)
		backend := open(t, path)
		var backup bytes.Buffer
		_, err := backend.WriteTo(&backup)
		require.NoError(t, err)
		corruptRecord(t, path)
		_, err = backend.FindByID(t.Context(), account(7).ID)
		assert.ErrorIs(t, err, store.ErrUnavailable)
		assert.ErrorIs(t, err, boltstore.ErrDamaged)
		assert.ErrorContains(t, err, "restore it from a backup")
		err = backend.Update(t.Context(), account(7).ID, func(*store.Account) error { t.Error("it was changed"); return nil })
		assert.ErrorIs(t, err, boltstore.ErrDamaged)
		unavailable, wrong := answers(backend, faultAccounts)
		assert.NoError(t, wrong)
		assert.Equal(t, 3, unavailable, "by id, name and e-mail; all others are served")
		require.NoError(t, backend.Close())

		require.NoError(t, os.WriteFile(path, backup.Bytes(), 0o600))
		unavailable, wrong = answers(open(t, path), faultAccounts)
		assert.NoError(t, wrong)
		assert.Zero(t, unavailable)
	})
}

// TestAccountInMemoryMeetsNoDamage: it is found, unless the cache is off.
func TestAccountInMemoryMeetsNoDamage(t *testing.T) {
	for cacheBytes, found := range map[int64]bool{0: true, 1 << 20: true, -1: false} {
		path := filepath.Join(t.TempDir(), "test.db")
		fill(t, path, 10)
		backend, err := boltstore.Open(path, boltstore.Config{CacheBytes: cacheBytes})
		require.NoError(t, err)
		_, err = backend.FindByID(bg, account(7).ID)
		require.NoError(t, err)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		writeAt(t, path, bytes.ReplaceAll(content, []byte("hash of account-7"), []byte("h4sh of account-7")), 0)
		read, err := backend.FindByID(bg, account(7).ID)
		if found {
			assert.NoError(t, err)
			assert.Equal(t, account(7), read)
		} else {
			assert.ErrorIs(t, err, boltstore.ErrDamaged)
		}
		require.NoError(t, backend.Close())
	}
}
