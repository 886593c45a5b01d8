package boltstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// TestFullDiskShowsInPing is in health_linux_test.go.

func init() {
	children["open"] = runOpen
	children["open full"] = runOpenFull
	children["fill up"] = runFillUp
}

const faultAccounts = 10

// runOpen prints why the file cannot be opened.
func runOpen(path string) error {
	backend, err := boltstore.Open(path, boltstore.Config{})
	if err != nil {
		fmt.Print(err)
		return nil
	}
	return backend.Close()
}

// childSays returns why a child process cannot open the file, or "" if it can.
func childSays(t *testing.T, name, path string) string {
	t.Helper()
	output, err := child(t, name, path).Output()
	require.NoError(t, err)
	return string(output)
}

// fillDisk leaves no room for any write of this process, until it is called with false.
func fillDisk(full bool) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if full {
		limit.Cur = 0
	}
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
}

func runOpenFull(path string) error {
	if err := fillDisk(true); err != nil {
		return err
	}
	return runOpen(path)
}

// TestFullDiskAtOpen: on a full disk an existing file opens and can be read. A new file cannot
// be made, and the attempt leaves nothing behind, however often a supervisor starts it.
func TestFullDiskAtOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, faultAccounts)
	assert.Empty(t, childSays(t, "open full", path))

	directory := t.TempDir()
	path = filepath.Join(directory, "new.db")
	for range 2 {
		says := childSays(t, "open full", path)
		assert.Contains(t, says, "boltstore: opening "+path+": ")
		assert.Contains(t, says, syscall.EFBIG.Error(), "what the system says")
		entries, err := os.ReadDir(directory)
		require.NoError(t, err)
		assert.Empty(t, entries)
	}
	fill(t, path, faultAccounts)
}

// TestFullDiskIsLoggedOnce adds to TestFullDiskShowsInPing what the log and the errors say,
// and that everything acknowledged is there when the file is opened again.
func TestFullDiskIsLoggedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, faultAccounts)
	require.NoError(t, child(t, "fill up", path).Run())
	backend := open(t, path)
	unavailable, wrong := answers(backend, faultAccounts+6)
	assert.NoError(t, wrong)
	assert.Zero(t, unavailable)
	_, err := backend.FindByID(t.Context(), account(faultAccounts+6).ID)
	assert.ErrorIs(t, err, store.ErrNotFound, "what was refused was not written")
}

func runFillUp(path string) error {
	var log bytes.Buffer
	backend, err := boltstore.Open(path, boltstore.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		return err
	}
	next := faultAccounts
	for range 3 {
		for range 2 { // acknowledged
			if err := errors.Join(backend.Create(bg, account(next)), putRecord(backend, next)); err != nil {
				return err
			}
			next++
		}
		log.Reset()
		if err := fillDisk(true); err != nil {
			return err
		}
		for range 5 {
			err := backend.Create(bg, account(next))
			if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				return fmt.Errorf("a write to a full disk returned: %w", err)
			}
			if _, err := backend.FindByID(bg, account(next-1).ID); err != nil {
				return fmt.Errorf("a read on a full disk: %w", err)
			}
			if _, err := backend.FindByID(bg, account(next).ID); !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("a write that was refused shows: %w", err)
			}
		}
		if err := fillDisk(false); err != nil {
			return err
		}
		if err := backend.Ping(bg); err != nil {
			return err
		}
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "level=ERROR") || !strings.Contains(lines[1], "level=INFO") ||
			strings.Count(log.String(), "file="+path) != 2 {
			return fmt.Errorf("the log should have a line for the fault and one for its end: %s", log.String())
		}
	}
	return backend.Close()
}
