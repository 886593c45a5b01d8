package boltstore

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"
)

// create makes the file under another name first, so that path never names half
// a file, whenever the process dies. Of two processes one is first.
func create(path string) error {
	temporary := path + "." + rand.Text()
	// The file stays open, and so locked, until it has its name: sweep of another
	// process leaves it alone.
	db, err := bbolt.Open(temporary, 0o600, &bbolt.Options{Timeout: lockTimeout})
	if err != nil {
		return err
	}
	err = db.Update(layOut)
	if err == nil {
		err = os.Link(temporary, path)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	err = errors.Join(err, db.Close())
	_ = os.Remove(temporary)
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// sweep removes what processes that were killed while they made the file have left
// behind.
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
		// What rand.Text makes: 26 letters and digits of base 32.
		if ours && len(suffix) == 26 && strings.Trim(suffix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == "" && entry.Type().IsRegular() {
			removeUnused(filepath.Join(directory, entry.Name()))
		}
	}
}
