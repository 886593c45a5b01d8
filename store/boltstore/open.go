package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
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
	// ErrDamaged: the file is cut short, its pages do not fit together, or a record
	// does not have its checksum. A call that meets damage later returns an error
	// that matches this and store.ErrUnavailable.
	ErrDamaged = errors.New("the file is damaged or cut short; restore it from a backup")
)

// Config says how a file is opened. The zero value is what [Open] uses.
type Config struct {
	// CheckInBackground makes OpenWith return before the file has been checked, for
	// a file that takes too long to read: about a tenth of a second for 100,000
	// accounts where the file is in memory, and as long as the disk needs for the
	// whole file otherwise. The check goes on beside the work, and makes the file
	// grow by about what is written meanwhile.
	//
	// Until it ends, damage can have consequences. A record that was damaged is
	// still refused, because each read verifies its checksum. But an account to
	// which damaged pages do not lead any more can be answered as not found, its
	// name given away, and a write can overwrite pages that a damaged page made look
	// free. If the check finds damage, it logs an error, and every call from then
	// on, Ping among them, returns an error that matches ErrDamaged and
	// store.ErrUnavailable. If it finds none, it logs that. Close ends it and waits
	// for it.
	//
	// A file that must be upgraded from an older format is checked before.
	CheckInBackground bool

	// AcceptLostWrite opens a file although one of its two header pages is damaged.
	// They are written in turn, so it is as likely as not that the newest write is
	// lost with the damaged one: a password may be the old one again, a session that
	// was revoked alive. Everything else is checked as always.
	AcceptLostWrite bool

	// Logger gets what an operator must know: damage, a disk that cannot be written
	// and when it can be again, an upgrade. The default is slog.Default().
	Logger *slog.Logger
}

const lockTimeout = time.Second

// Open opens the file, which it makes, of mode 0600, if there is none. It checks
// all of an existing file first: about a tenth of a second for 100,000 accounts, or as
// long as the disk needs to read the file. It upgrades a file of an older version of this package, which then cannot open it any
// more. Errors name the file and match [ErrInUse], [ErrForeign], [ErrNewer],
// [ErrDamaged] or an error of package os.
func Open(path string) (*Store, error) { return OpenWith(path, Config{}) }

// OpenWith is as [Open], with a configuration.
func OpenWith(path string, config Config) (*Store, error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	config.Logger = config.Logger.With("file", path)
	s, err := open(path, config)
	if err != nil {
		return nil, fmt.Errorf("boltstore: opening %s: %w", path, err)
	}
	return s, nil
}

func open(path string, config Config) (*Store, error) {
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
	sweep(path)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s, err := openFile(file, config)
	if err != nil {
		_ = abandon(file) // also where bbolt has closed it, or could not
		return nil, err
	}
	return s, nil
}

// openFile locks and checks the file before bbolt sees it.
func openFile(file *os.File, config Config) (s *Store, err error) {
	var db *bbolt.DB
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = panicked(cause)
		} else if err != nil && db != nil {
			_ = db.Close()
		}
	}()
	release, err := lock(file)
	if err != nil {
		return nil, err
	}
	found, background, lost, err := examine(file, config)
	release()
	if err != nil {
		return nil, err
	}
	if db, file, err = openBolt(file); err != nil {
		return nil, err
	}
	if found.format < format || found.upgrade != nil {
		config.Logger.Info("upgrading the account file; older versions cannot open it any more", "format", format)
		if err := upgradeFile(db, found); err != nil {
			return nil, fmt.Errorf("upgrading: %w", err)
		}
	}
	if lost {
		config.Logger.Warn("opened the account file although one of its header pages was damaged; the last write may be missing")
		if err := db.Update(layout{format: format}.write); err != nil { // writes that page anew
			return nil, err
		}
	}
	s = &Store{db: db, file: file, logger: config.Logger, commits: newCommitter(), stopCheck: func() {}}
	return s, s.start(background)
}

// examine checks a file, all of it unless it can be done in the background.
func examine(file *os.File, config Config) (found layout, background, lost bool, err error) {
	h, err := readHeader(file)
	if lost = errors.Is(err, errOneHeader); lost && !config.AcceptLostWrite {
		err = damaged(err)
	}
	if err != nil && !(lost && config.AcceptLostWrite) {
		return found, false, false, err
	}
	c, err := newCheck(file, h)
	if err != nil {
		return found, false, false, damaged(err)
	}
	if found, err = c.begin(); err != nil {
		return found, false, false, err
	}
	// Where the list of free pages is not stored, bbolt finds them by following all
	// others, and ends the process if one leads astray.
	if config.CheckInBackground && !lost && found.format == format && found.upgrade == nil && h.freelist != noFreelist {
		return found, true, false, nil
	}
	return found, false, lost, c.finish(context.Background())
}

// openBolt gives the file to bbolt, which closes it from then on, and returns the
// file that bbolt has.
func openBolt(file *os.File) (*bbolt.DB, *os.File, error) {
	options := &bbolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bbolt.FreelistMapType,
		NoStatistics:    true,
		InitialMmapSize: mapSize(),
		OpenFile:        func(string, int, os.FileMode) (*os.File, error) { return file, nil },
	}
	db, err := bbolt.Open(file.Name(), 0o600, options)
	if errors.Is(err, syscall.ENOMEM) { // the process may not have so many addresses
		options.InitialMmapSize = 0
		options.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err = os.OpenFile(name, flag, mode) // bbolt has closed the other one
			return file, err
		}
		db, err = bbolt.Open(file.Name(), 0o600, options)
	}
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, file, ErrInUse
	case err != nil && !errors.As(err, new(*fs.PathError)):
		return nil, file, damaged(err)
	case err != nil:
		return nil, file, err
	}
	db.AllocSize = 1 << 20 // by how much the file grows at a time
	return db, file, nil
}

// mapSize is how much of the address space the map of the file takes at first, in
// bytes. While bbolt makes its map larger it waits for all readers, a backup among
// them, and everybody waits for it; so the map is as large as a file will get, where
// that costs nothing.
func mapSize() int {
	if strconv.IntSize < 64 || runtime.GOOS == "windows" { // there the file would grow with it
		return 0
	}
	size := int64(16 << 30)
	return int(size)
}

// start makes the store ready for calls.
func (s *Store) start(checkInBackground bool) error {
	tx, err := s.db.Begin(false)
	if err != nil {
		return err
	}
	s.committed.Store(uint64(tx.ID()))
	if !checkInBackground {
		return tx.Rollback()
	}
	// Nobody has written since, so the headers belong to tx, which keeps its pages
	// from being reused.
	h, err := readHeader(s.file)
	if err != nil {
		return errors.Join(damaged(err), tx.Rollback())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	s.stopCheck = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		defer tx.Rollback()
		c, err := newCheck(s.file, h)
		if err == nil {
			if _, err = c.begin(); err == nil {
				err = c.finish(ctx)
			}
		}
		switch {
		case err == nil:
			s.logger.Info("checked the account file: it is whole")
		case ctx.Err() == nil:
			s.fail(err)
		}
	}()
	return nil
}
