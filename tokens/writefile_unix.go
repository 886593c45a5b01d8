//go:build unix

package tokens

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a new file the owner and the group of the old one.
func keepOwner(file *os.File, old fs.FileInfo) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	have, haveKnown := info.Sys().(*syscall.Stat_t)
	want, wantKnown := old.Sys().(*syscall.Stat_t)
	if !haveKnown || !wantKnown || have.Uid == want.Uid && have.Gid == want.Gid {
		return nil
	}
	if err := file.Chown(int(want.Uid), int(want.Gid)); err != nil {
		return fmt.Errorf("cannot keep its owner (user %d, group %d), so it is not replaced; run this as that user or as root: %w", want.Uid, want.Gid, withoutName(err))
	}
	return nil
}

// othersCanRead reports whether users who are neither the owner of a file nor in its
// group can read it. The group may read it: that is how a service reads a file of root.
func othersCanRead(mode fs.FileMode) bool { return mode.Perm()&0o004 != 0 }

// othersCanWrite reports whether anybody but the owner of a file can write it.
func othersCanWrite(mode fs.FileMode) bool { return mode.Perm()&0o022 != 0 }

// syncDirectory makes sure that a new name in a directory survives a power failure. Some
// file systems cannot sync a directory. On these it does nothing.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing the directory: %w", err)
	}
	err = directory.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, directory.Close())
}
