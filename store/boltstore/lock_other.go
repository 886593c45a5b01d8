//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package boltstore

import (
	"errors"
	"os"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// lock keeps other processes from writing while the file is checked. It opens the file with
// bbolt for reading, until release is called.
func lock(file *os.File) (release func(), err error) {
	db, err := bbolt.Open(file.Name(), 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, ErrInUse
	}
	if err != nil {
		return func() {}, nil // the check finds out what is wrong
	}
	return func() { _ = db.Close() }, nil
}

// unlock does nothing: on these systems closing the file releases the lock.
func unlock(*os.File) error { return nil }

// removeUnused removes a file unless a process has it open.
func removeUnused(path string) { _ = os.Remove(path) }

// syncDirectory does nothing: these systems cannot sync directories.
func syncDirectory(string) error { return nil }
