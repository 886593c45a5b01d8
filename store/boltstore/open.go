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

// These are the reasons why Open refuses a file. Their errors wrap them.
var (
	// ErrInUse means that another process has the file open.
	ErrInUse = errors.New("the file is in use by another process")
	// ErrForeign means that the file is not a bolt file, or belongs to another program.
	ErrForeign = errors.New("the file is not an oauthsv store")
	// ErrNewer means that a newer version of this package wrote the file.
	ErrNewer = errors.New("the file has a newer format than this program knows; use a newer version")
	// ErrDamaged means that the file is cut short, that its pages do not fit together,
	// or that a record has a wrong checksum. A call that meets such damage later
	// returns an error that matches both ErrDamaged and store.ErrUnavailable.
	ErrDamaged = errors.New("the file is damaged or cut short; restore it from a backup")
)

// Config says how a file is opened. The zero value is what [Open] uses.
type Config struct {
	// CheckInBackground makes a program with a large file start sooner. Open then
	// returns before the whole file is checked, and the check goes on in the
	// background. Without it, Open needs about a tenth of a second for 100,000
	// accounts if the system has the file in memory. Otherwise it needs as long as the
	// disk takes to read the whole file.
	//
	// Until the check ends, damage can do harm. A damaged record is still refused,
	// because each read verifies its checksum. But if damage cuts off the path to an
	// account, the account can count as not found, and a new account can take its
	// name. And if damage makes pages look free, a write can overwrite them. During
	// the check the file also grows by about as much as is written.
	//
	// If the check finds damage, it logs an error. From then on every call, Ping
	// included, returns an error that matches ErrDamaged and store.ErrUnavailable. If
	// it finds none, it logs that. Close ends the check and waits for its end.
	//
	// A file that must be upgraded from an older format is always checked first.
	CheckInBackground bool

	// NoCheck leaves the check out, for a file that is too large to be read whole at each
	// start, not even in the background. Open then checks only what it reads at once. What
	// CheckInBackground says of damage until the check ends holds for as long as the store
	// is open: a damaged record is still refused, but an account can count as not found,
	// another one can take its name, and a write can overwrite pages that only look free.
	// Nothing tells you of such damage, and a backup has it as well. So open a backup
	// without NoCheck from time to time.
	//
	// A file that must be upgraded from an older format is always checked, and so is one
	// that only AcceptLostWrite can open. NoCheck cannot be combined with
	// CheckInBackground.
	NoCheck bool

	// AcceptLostWrite opens a file even if one of its two header pages is damaged, for
	// when there is no better backup. bbolt writes the two pages in turn, so it is as
	// likely as not that the newest write is lost. For example, a password may be the
	// old one again, or a revoked session alive. The rest of the file is checked as
	// usual.
	AcceptLostWrite bool

	// CacheBytes bounds the memory for accounts that were read before, in bytes. A protected
	// request whose account is in memory takes a fraction of a microsecond; otherwise it takes
	// a few, or some tens for an account with many sessions. An account with a session takes
	// about 1 KiB, one with 32 sessions about 12 KiB. The default is 32 MiB. A negative value
	// turns the cache off.
	//
	// Each change drops its account, so no read returns an old one. While an account is in
	// memory, reads of it do not meet damage that somebody does to the open file.
	CacheBytes int64

	// Logger gets what an operator must know: damage, an upgrade of the file, how long the
	// check of a file of 256 MiB or more will take and took, and when the disk cannot be
	// written and can be written again. The default is slog.Default().
	Logger *slog.Logger

	announceFrom int64 // bytes; the default is largeFile
}

const lockTimeout = time.Second

// Open opens a file of accounts. If there is no file at path, it makes one with mode 0600.
// It checks an existing file completely first, see Config.CheckInBackground for how long
// that takes, and Config.NoCheck.
//
// Open upgrades a file that an older version of this package wrote. The older version
// cannot open the file any more after that.
//
// Errors name the file. They match [ErrInUse], [ErrForeign], [ErrNewer], [ErrDamaged] or
// an error of package os.
func Open(path string, config Config) (*Store, error) {
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	config.Logger = config.Logger.With("file", path)
	if config.CheckInBackground && config.NoCheck {
		return nil, errors.New("boltstore: configuration: CheckInBackground and NoCheck cannot be combined")
	}
	if path == "" {
		return nil, errors.New("boltstore: configuration: the path is empty: give the name of a file, such as accounts.db")
	}
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
		return nil, ErrDamaged // bbolt would treat it as a new file
	}
	sweep(path)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	s, err := openFile(file, config)
	if err != nil {
		_ = abandon(file) // harmless if bbolt has closed it
		return nil, err
	}
	return s, nil
}

// openFile locks and checks the file, and then gives it to bbolt.
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
		config.Logger.Info("upgrading the account file: older versions cannot open it any more", "format", format)
		if err := upgradeFile(db, found); err != nil {
			return nil, fmt.Errorf("upgrading: %w", err)
		}
	}
	if lost {
		config.Logger.Warn("opened the account file although one of its header pages is damaged: the last write may be missing")
		if err := db.Update(layout{format: format}.write); err != nil { // this writes the damaged page anew
			return nil, err
		}
	}
	s = &Store{db: db, file: file, logger: config.Logger, commits: newCommitter(), cache: newCache(config.CacheBytes), stopCheck: func() {}}
	return s, s.start(config, background)
}

// examine checks a file. If the rest of the check may run in the background, or not at all,
// it checks only what bbolt reads at once. It returns background as true if the rest must run
// in the background, and lost as true if one of the header pages is damaged.
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
	// If the file does not store the list of free pages, bbolt follows all other pages
	// to find them. A damaged page would then end the process.
	atOnce := !config.CheckInBackground && !config.NoCheck
	if !atOnce && !lost && found.format == format && found.upgrade == nil && h.freelist != noFreelist {
		return found, config.CheckInBackground, false, nil
	}
	defer config.announceCheck(int64(h.end * h.pageSize))()
	return found, false, lost, c.finish(context.Background())
}

// openBolt gives the file to bbolt, which closes it later. It returns the file that bbolt
// uses in the end, which may be another one.
func openBolt(file *os.File) (*bbolt.DB, *os.File, error) {
	options := &bbolt.Options{
		Timeout:         lockTimeout,
		FreelistType:    bbolt.FreelistMapType,
		NoStatistics:    true,
		InitialMmapSize: mapSize(),
		OpenFile:        func(string, int, os.FileMode) (*os.File, error) { return file, nil },
	}
	db, err := bbolt.Open(file.Name(), 0o600, options)
	if errors.Is(err, syscall.ENOMEM) { // the process may have no address space for the map
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
	db.AllocSize = 1 << 20 // the file grows by this many bytes at a time
	return db, file, nil
}

// mapSize returns how many bytes of the address space the map of the file takes at first.
// When bbolt enlarges its map, it waits for all readers, a backup included, and everybody
// else waits for bbolt. So the map is as large as any file will get, on systems where
// address space costs nothing.
func mapSize() int {
	if strconv.IntSize < 64 || runtime.GOOS == "windows" { // on Windows the file would grow to that size
		return 0
	}
	size := int64(16 << 30)
	return int(size)
}

// start makes the store ready for calls.
func (s *Store) start(config Config, checkInBackground bool) error {
	tx, err := s.db.Begin(false)
	if err != nil {
		return err
	}
	s.committed.Store(uint64(tx.ID()))
	if !checkInBackground {
		return tx.Rollback()
	}
	// Nobody has written since the file was opened, so the header is that of tx. While tx
	// lasts, no page that it sees is reused.
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
		announceEnd := config.announceCheck(int64(h.end * h.pageSize))
		c, err := newCheck(s.file, h)
		if err == nil {
			if _, err = c.begin(); err == nil {
				err = c.finish(ctx)
			}
		}
		switch {
		case err == nil:
			announceEnd()
			s.logger.Info("checked the account file: it is not damaged")
		case ctx.Err() == nil:
			s.fail(err)
		}
	}()
	return nil
}
