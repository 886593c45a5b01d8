package boltstore_test

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

func init() {
	children["full"] = runOnFullDisk
	children["narrow"] = runWithFewAddresses
}

// TestFewAddresses checks that the store works if the process may not map as much as Open
// asks for (ulimit -v).
func TestFewAddresses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 50)
	require.NoError(t, child(t, "narrow", path).Run())
	_, err := open(t, path).FindByID(bg, account(1000).ID)
	require.NoError(t, err)
}

func runWithFewAddresses(path string) error {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return err
	}
	var pages uint64
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		return err
	}
	size := pages*uint64(os.Getpagesize()) + 4<<30
	if err := syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: size, Max: size}); err != nil {
		return err
	}
	backend, err := boltstore.Open(path, boltstore.Config{})
	if err != nil {
		return err
	}
	if err := backend.Create(bg, account(1000)); err != nil {
		return err
	}
	if _, wrong := answers(backend, 50); wrong != nil {
		return wrong
	}
	return backend.Close()
}

// TestFullDiskShowsInPing checks that Ping fails while the disk is full, as writes do, and
// succeeds once there is room. A child process has RLIMIT_FSIZE, so that its file cannot
// grow.
func TestFullDiskShowsInPing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 50)
	output, err := child(t, "full", path).Output()
	require.NoError(t, err)
	t.Logf("%s", output)
	unavailable, wrong := answers(open(t, path), 50)
	require.NoError(t, wrong)
	require.Zero(t, unavailable)
}

func runOnFullDisk(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	backend, err := boltstore.Open(path, boltstore.Config{})
	if err != nil {
		return err
	}
	setLimit := func(bytes uint64) error {
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: limit.Max})
	}
	var info syscall.Stat_t
	if err := syscall.Stat(path, &info); err != nil {
		return err
	}
	if err := setLimit(uint64(info.Size)); err != nil {
		return err
	}
	rename := func(a *store.Account) error {
		a.Email += strings.Repeat("x", 256<<10) // more than the file has room for
		return nil
	}
	made, refused, healthy := 50, 0, 0
	for refused < 100 {
		if made > 100_000 {
			return errors.New("the disk does not get full")
		}
		err := backend.Create(bg, account(made))
		switch {
		case err == nil:
			made++
			continue
		case !errors.Is(err, store.ErrUnavailable):
			return fmt.Errorf("creating: %w", err)
		}
		last := account(made - 1)
		if err := backend.Update(bg, last.ID, rename); !errors.Is(err, store.ErrUnavailable) {
			return fmt.Errorf("changing on a full disk: %w", err)
		}
		// Twice, because the second one may be answered from memory.
		for range 2 {
			if found, err := backend.FindByID(bg, last.ID); err != nil || found.Email != last.Email {
				return fmt.Errorf("reading on a full disk: %v %w", found, err)
			}
		}
		refused++
		if backend.Ping(bg) == nil {
			healthy++
		}
	}
	if healthy > 5 { // Ping may find room where one writer found none
		return fmt.Errorf("%d of %d pings on a full disk succeeded", healthy, refused)
	}
	if err := setLimit(limit.Cur); err != nil {
		return err
	}
	if err := backend.Ping(bg); err != nil {
		return fmt.Errorf("there is room again: %w", err)
	}
	if err := backend.Create(bg, account(made)); err != nil {
		return err
	}
	fmt.Printf("%d made, %d refused, %d of as many pings succeeded", made-50, refused, healthy)
	for i := 50; i <= made; i++ {
		if _, err := backend.FindByName(bg, account(i).Name); err != nil {
			return fmt.Errorf("account %d: %w", i, err)
		}
	}
	return backend.Close()
}
