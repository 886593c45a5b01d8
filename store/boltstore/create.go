package boltstore

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"
)

// create makes a new file. It completes the file under a temporary name before it links it
// to path, so that path never names an incomplete file even if the process dies. If two
// processes create the file at once, that of the first one stays.
func create(path string) error {
	temporary := path + "." + rand.Text()
	// The file stays open, and so locked, until it has its name. So sweep in another
	// process does not remove it, but for the moment before it is locked.
	db, err := bbolt.Open(temporary, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		_ = os.Remove(temporary) // a full disk has room for its name
		return err
	}
	err = db.Update(layOut)
	if err == nil {
		err = os.Link(temporary, path)
	}
	if _, statError := os.Stat(path); statError == nil {
		err = nil // it is done, or another process was first; it may have taken the temporary file for a left-over
	}
	err = errors.Join(err, db.Close())
	_ = os.Remove(temporary)
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// sweep removes the temporary files that create leaves behind if its process is killed.
func sweep(path string) {
	directory, base := filepath.Split(path)
	if directory == "" {
		directory = "."
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return
	}
	for _, entry := range entries {
		suffix, ours := strings.CutPrefix(entry.Name(), base+".")
		// The suffix is one that rand.Text returns: 26 letters and digits of base 32.
		if ours && len(suffix) == 26 && strings.Trim(suffix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == "" && entry.Type().IsRegular() {
			removeUnused(filepath.Join(directory, entry.Name()))
		}
	}
}
