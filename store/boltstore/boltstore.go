// Package boltstore keeps accounts in one file, with bbolt. It is for a service that runs
// as one process: only one process at a time can have the file open.
//
// A call that succeeds has written its change to disk. The change survives a crash of the
// process, and a crash of the machine as long as the disk does not lie about what it has
// written.
//
// Every record has a checksum, and the whole file is checked when it is opened. A damaged
// file is not opened. If the file is damaged later, the calls that meet the damage return
// [store.ErrUnavailable]. No call returns damaged data. An account that is in memory is still
// found then, see Config.CacheBytes.
//
// [Store.WriteTo] makes a backup while the file is in use. Do not copy an open file with
// other tools: the copy is likely to be broken.
package boltstore

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	"go.mongodb.org/mongo-driver/bson"

	"github.com/oauthsv/oauthsv/store"
)

// Store is a [store.Backend] in a file. It is safe for concurrent use. Make it
// with [Open].
//
// If somebody overwrites or truncates the file while it is open, a call may meet damage
// that bbolt cannot recover from. After that every call returns [store.ErrUnavailable],
// until the file is closed, restored from a backup and opened again.
type Store struct {
	db      *bbolt.DB
	file    *os.File // the file of db; bbolt closes it unless the store has failed
	logger  *slog.Logger
	commits committer
	cache   *cache // nil if it is off

	// committed is the number of the newest transaction known to be on disk.
	committed atomic.Uint64
	// commitError is why the last commit failed, or nil if it succeeded.
	commitError atomic.Pointer[error]
	// failure is why bbolt must not be called any more, or nil as long as it may be.
	failure atomic.Pointer[error]

	stopCheck  func() // ends the background check and waits for its end
	closeOnce  sync.Once
	closeError error
}

var _ store.Backend = (*Store)(nil)

// FindByID is as [store.Backend] says.
func (s *Store) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if known := s.cache.find(id); known != nil {
		return known, nil
	}
	return s.readByID(ctx, id)
}

// readByID reads an account from the file. It stands apart so that FindByID allocates nothing.
func (s *Store) readByID(ctx context.Context, id store.ID) (*store.Account, error) {
	space := spaces.Get().(*[]byte)
	defer putSpace(space)
	var transaction uint64
	err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
		transaction = uint64(tx.ID())
		*space, err = getAccount(tx, id[:], (*space)[:0])
		return err
	})
	if err != nil {
		return nil, err
	}
	account, err := decodeAccount(id[:], *space)
	if err == nil {
		s.cache.keep(account, transaction)
	}
	return account, err
}

// usable returns why a call cannot be answered now, or nil.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.failed()
}

// FindByName is as [store.Backend] says.
func (s *Store) FindByName(ctx context.Context, name string) (*store.Account, error) {
	account, err := s.findBy(ctx, tableNames, name)
	if err == nil && account.Name != name {
		return nil, metDamage("an entry of names points to an account of another name")
	}
	return account, err
}

// FindByEmail is as [store.Backend] says.
func (s *Store) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	account, err := s.findBy(ctx, tableEmails, emailKey)
	if err == nil && account.EmailKey != emailKey {
		return nil, metDamage("an entry of emails points to an account of another e-mail")
	}
	return account, err
}

func (s *Store) findBy(ctx context.Context, index *table, value string) (*store.Account, error) {
	space := spaces.Get().(*[]byte)
	defer putSpace(space)
	var id []byte
	err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
		if id, err = index.get(tx, []byte(value), nil); err != nil {
			return err
		}
		if id == nil {
			return store.ErrNotFound
		}
		*space, err = getAccount(tx, id, (*space)[:0])
		if err == store.ErrNotFound {
			return metDamage("an entry of %s points to an account that does not exist", index.name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return decodeAccount(id, *space)
}

// spaces holds reusable memory for the encoded records of reads.
var spaces = sync.Pool{New: func() any { return new([]byte) }}

func putSpace(space *[]byte) {
	if cap(*space) <= 64<<10 {
		spaces.Put(space)
	}
}

// getAccount appends the encoded account to space.
func getAccount(tx *bbolt.Tx, id, space []byte) ([]byte, error) {
	text, err := tableAccounts.get(tx, id, space)
	if err == nil && text == nil {
		err = store.ErrNotFound
	}
	if err != nil {
		return space, err
	}
	return text, nil
}

// decodeAccount decodes an account. The result does not refer to text.
func decodeAccount(id, text []byte) (*store.Account, error) {
	account := new(store.Account)
	if err := bson.Unmarshal(text, account); err != nil {
		return nil, metDamage("account %x: %v", id, err)
	}
	if string(account.ID[:]) != string(id) {
		return nil, metDamage("account %x has another id", id)
	}
	return account, nil
}

// view runs read in a read transaction. read should be quick, because bbolt reuses no page
// during the transaction. It must not keep memory that the transaction returned.
func (s *Store) view(ctx context.Context, read func(*bbolt.Tx) error) (err error) {
	if err := s.usable(ctx); err != nil {
		return err
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var tx *bbolt.Tx
	begun := false
	defer func() {
		if cause := recover(); cause != nil {
			err = s.fail(panicked(cause))
			if !begun {
				releaseBegin(s.db)
			}
		}
		if tx != nil {
			_ = tx.Rollback() // this touches no page, so it is safe even after a panic
		}
	}()
	committed := s.committed.Load()
	tx, err = s.db.Begin(false)
	begun = true
	if err != nil {
		return fmt.Errorf("%w: boltstore: %w", store.ErrUnavailable, err)
	}
	if uint64(tx.ID()) < committed {
		return s.fail(errLostCommit)
	}
	return read(tx)
}

// Ping is as [store.Backend] says. If the last write failed, for example because the disk
// was full, Ping writes something itself and returns an error if that fails too. So the
// store notices by itself when the disk can be written again.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.view(ctx, func(*bbolt.Tx) error { return nil }); err != nil {
		return err
	}
	if s.commitError.Load() == nil {
		return nil
	}
	return s.write(ctx, func(b *batch) error {
		// This takes as many pages as a new account does in a large file.
		return b.putMeta(metaProbe, make([]byte, 64<<10))
	})
}

// Close waits for the calls under way and releases the file. After that every method
// returns an error that matches [store.ErrUnavailable]. A second call of Close does
// nothing more and returns what the first one did.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeError = s.close() })
	return s.closeError
}
