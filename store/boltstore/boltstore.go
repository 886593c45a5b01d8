// Package boltstore keeps accounts in one file, with bbolt. What was answered is
// on disk: it survives the process and, as far as the disk keeps its word, the
// machine. One process at a time can have the file open.
//
// Every record has a checksum, and the whole file is checked when it is opened. A
// damaged file is refused, or the call that meets the damage answers
// [store.ErrUnavailable]. It is never answered from.
//
// [Store.WriteTo] makes a backup while the file is in use. A copy made with other
// tools while the file is open is likely to be broken.
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
// with [Open] or [OpenWith].
//
// If somebody overwrites or truncates the file while it is open, calls may find
// that out in the middle of their work. The store has failed then: every call
// answers [store.ErrUnavailable] until the file is closed, restored and opened
// again.
type Store struct {
	db      *bbolt.DB
	file    *os.File // the file of db, which bbolt closes unless it has failed
	logger  *slog.Logger
	commits committer

	// committed is the number of the newest transaction known to be on disk.
	committed atomic.Uint64
	// commitError is why the last commit failed, nil where it did not.
	commitError atomic.Pointer[error]
	// failure is why bbolt must not be called any more, nil while it may.
	failure atomic.Pointer[error]

	stopCheck  func() // ends the check in the background and waits for it
	closeOnce  sync.Once
	closeError error
}

var _ store.Backend = (*Store)(nil)

// FindByID is as [store.Backend] says.
func (s *Store) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	space := spaces.Get().(*[]byte)
	defer putSpace(space)
	err := s.view(ctx, func(tx *bbolt.Tx) (err error) {
		*space, err = getAccount(tx, id[:], (*space)[:0])
		return err
	})
	if err != nil {
		return nil, err
	}
	return decodeAccount(id[:], *space)
}

// FindByName is as [store.Backend] says.
func (s *Store) FindByName(ctx context.Context, name string) (*store.Account, error) {
	account, err := s.findBy(ctx, tableNames, name)
	if err == nil && account.Name != name {
		return nil, damage("a name leads to another account")
	}
	return account, err
}

// FindByEmail is as [store.Backend] says.
func (s *Store) FindByEmail(ctx context.Context, emailKey string) (*store.Account, error) {
	account, err := s.findBy(ctx, tableEmails, emailKey)
	if err == nil && account.EmailKey != emailKey {
		return nil, damage("an e-mail leads to another account")
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
			return damage("an entry of %s leads nowhere", index.name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return decodeAccount(id, *space)
}

// spaces holds memory for the texts of records while they are decoded.
var spaces = sync.Pool{New: func() any { return new([]byte) }}

func putSpace(space *[]byte) {
	if cap(*space) <= 64<<10 {
		spaces.Put(space)
	}
}

// getAccount appends the text of an account to space.
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

// decodeAccount keeps nothing of text.
func decodeAccount(id, text []byte) (*store.Account, error) {
	account := new(store.Account)
	if err := bson.Unmarshal(text, account); err != nil {
		return nil, damage("account %x: %v", id, err)
	}
	if string(account.ID[:]) != string(id) {
		return nil, damage("account %x has another id", id)
	}
	return account, nil
}

// view runs read in a read transaction. read must only read: it holds up the reuse
// of pages, and what it gets from the transaction ends with it.
func (s *Store) view(ctx context.Context, read func(*bbolt.Tx) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.failed(); err != nil {
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
			_ = tx.Rollback() // touches no page, so it is safe after a panic as well
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

// Ping is as [store.Backend] says. After a write that failed, because the disk was
// full for example, it writes a little itself and returns an error unless that
// works, so that a store recovers without anybody's help.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.view(ctx, func(*bbolt.Tx) error { return nil }); err != nil {
		return err
	}
	if s.commitError.Load() == nil {
		return nil
	}
	return s.write(ctx, func(b *batch) error {
		// As many pages as a new account with its indexes takes in a large file.
		return b.putMeta(metaProbe, make([]byte, 64<<10))
	})
}

// Close waits for what is under way and releases the file. After it every method
// returns an error that matches [store.ErrUnavailable]. A second call does nothing.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeError = s.close() })
	return s.closeError
}
