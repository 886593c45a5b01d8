//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package boltstore

import (
	"os"
	"syscall"
	"time"
)

// lock takes the lock that bbolt will take. bbolt gets the same open file later, and to lock
// that a second time does nothing. So release has nothing to do.
func lock(file *os.File) (release func(), err error) {
	deadline := time.Now().Add(lockTimeout)
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() {}, nil
		case err != syscall.EWOULDBLOCK:
			return nil, &os.PathError{Op: "lock", Path: file.Name(), Err: err}
		case time.Now().After(deadline):
			return nil, ErrInUse
		}
		time.Sleep(50 * time.Millisecond) // as bbolt does: the system cannot wait with a deadline
	}
}

// unlock releases the lock of a file. Closing the file does not, as long as it is mapped.
func unlock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
}

// removeUnused removes a file unless a process has locked it.
func removeUnused(path string) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer file.Close()
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		_ = os.Remove(path)
	}
}

// syncDirectory writes a directory to disk, and so the name of a new file in it.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}
