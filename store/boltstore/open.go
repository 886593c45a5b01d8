package boltstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// The reasons for which a file is not opened.
var (
	// ErrInUse: another process has the file open.
	ErrInUse = errors.New("the file is in use by another process")
	// ErrForeign: the file is no bolt file, or another program's.
	ErrForeign = errors.New("the file is not an oauthsv store")
	// ErrNewer: a newer version of this package wrote the file.
	ErrNewer = errors.New("the file has a newer format than this program knows; use a newer version")
	// ErrDamaged: the file is cut short or its pages do not fit together.
	ErrDamaged = errors.New("the file is damaged or cut short; restore it from a backup")
)

// format is the version of the layout of buckets and records. It grows when an
// older program could no longer read, or would spoil, what a newer one writes.
const format = 1

const lockTimeout = time.Second

// Open opens the file, which it makes, of mode 0600, if there is none. All pages
// of an existing file are checked first, about a second for a gigabyte. Errors
// name the file and match [ErrInUse], [ErrForeign], [ErrNewer], [ErrDamaged] or
// an error of package os.
func Open(path string) (*Store, error) {
	s, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("boltstore: opening %s: %w", path, err)
	}
	return s, nil
}

func open(path string) (*Store, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return nil, err
		}
		if err := create(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() == 0:
		return nil, ErrDamaged // bbolt would take it for a new one
	}
	db, err := openChecked(path)
	if err != nil {
		return nil, err
	}
	if err := checkFormat(db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{db: db, commits: newCommitter()}, nil
}

// create makes the file under another name first, so that path never names half
// a file, whenever the process dies. Of two processes one is first.
func create(path string) error {
	temporary := path + "." + rand.Text()
	db, err := bbolt.Open(temporary, 0o600, nil)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketAccounts, bucketNames, bucketEmails, bucketRecords, bucketExpiries} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put([]byte("format"), []byte(strconv.Itoa(format)))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(temporary, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// openChecked opens an existing file and checks all of it. bbolt panics, or reads
// past the end of the memory map, on some damage: both become errors here.
func openChecked(path string) (db *bbolt.DB, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = ErrDamaged
		}
		if err != nil && file != nil {
			db = nil
			file.Close() // releases the lock also where bbolt could not
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      lockTimeout,
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err = os.OpenFile(name, flag, mode)
			return file, err
		},
	})
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bbolterrors.ErrInvalid), errors.Is(err, bbolterrors.ErrVersionMismatch):
		return nil, ErrForeign
	case errors.Is(err, bbolterrors.ErrChecksum):
		return nil, ErrDamaged
	case err != nil && file != nil && !errors.As(err, new(*fs.PathError)):
		return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	case err != nil:
		return nil, err
	}
	if err := checkPages(file); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrDamaged, err)
	}
	return db, db.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() { // to the end, or its goroutine would stay
			if first == nil {
				first = fmt.Errorf("%w (%w)", ErrDamaged, err)
			}
		}
		return first
	})
}

func checkFormat(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return ErrForeign
		}
		version, err := strconv.Atoi(string(meta.Get([]byte("format"))))
		switch {
		case err != nil || version < 1:
			return ErrForeign
		case version > format:
			return ErrNewer
		}
		for _, name := range [][]byte{bucketAccounts, bucketNames, bucketEmails, bucketRecords, bucketExpiries} {
			if tx.Bucket(name) == nil {
				return ErrDamaged
			}
		}
		return nil
	})
}
