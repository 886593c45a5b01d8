// Package sqlbackend is an example: a [store.Backend] over the table of users that a team
// already has, with database/sql and SQLite. Copy it and change it. Its page is
// docs/own-users-table.md.
package sqlbackend

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/oauthsv/oauthsv/store"
)

// Backend is a [store.Backend] over the table users. Make it with [New].
type Backend struct {
	db *sql.DB
	// turn holds a value while somebody writes. SQLite has one writer at a time, and asks
	// again and again whether it is its turn. Here the writers of a process queue up, so
	// that nobody waits long. A database server needs no such queue.
	turn chan struct{}
}

var _ store.Backend = (*Backend)(nil)

// OpenDB opens a database file with the settings that the promises of [store.Backend]
// need. Every connection of the pool gets them.
func OpenDB(path string) (*sql.DB, error) {
	settings := url.Values{
		"_pragma": {
			"busy_timeout(5000)", // how long a writer waits for another one, in milliseconds
			"journal_mode(WAL)",  // readers do not wait for a writer
			"synchronous(FULL)",  // a commit is on the disk before others see it
			"foreign_keys(ON)",
		},
		// A transaction waits for its turn to write when it begins. If it began as a
		// reader, it could fail later instead of waiting.
		"_txlock": {"immediate"},
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+settings.Encode())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections) // opening a connection takes longer than a look-up
	return db, nil
}

const connections = 8

// New returns a Backend over a database that [OpenDB] has opened. If the table users does
// not have the columns of the kit yet, New adds them, and makes each user an account.
func New(ctx context.Context, db *sql.DB) (*Backend, error) {
	b := &Backend{db: db, turn: make(chan struct{}, 1)}
	if err := b.write(ctx, "preparing the table of users", func(tx *sql.Tx) error { return migrate(ctx, tx) }); err != nil {
		return nil, err
	}
	return b, nil
}

// Ping is as [store.Backend] says. It begins a transaction that could write, because a full
// answer needs more than a file that can be read. It writes nothing.
func (b *Backend) Ping(ctx context.Context) error {
	return b.write(ctx, "answering a ping", func(tx *sql.Tx) error {
		var found bool
		return tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM users)").Scan(&found)
	})
}

// write runs do in a transaction. If do returns an error or panics, nothing is written.
func (b *Backend) write(ctx context.Context, what string, do func(tx *sql.Tx) error) error {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return named(what, ctx.Err())
	}
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return named(what, err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err := do(tx); err != nil {
		return named(what, err)
	}
	return named(what, tx.Commit())
}

// errConflict means that somebody else wrote the row after it was read.
var errConflict = errors.New("sqlbackend: the row has changed")

// named turns an error of the database into one that store.Backend names. An error that is
// named already stays as it is.
func named(what string, err error) error {
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrExists), errors.Is(err, errConflict):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return store.ErrNotFound
	}
	return fmt.Errorf("%w: sqlbackend: %s: %w", store.ErrUnavailable, what, err)
}

// isUniqueViolation reports whether a write failed because a unique value is taken.
func isUniqueViolation(err error) bool {
	var refused *sqlite.Error
	return errors.As(err, &refused) &&
		(refused.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || refused.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// mustHitOne returns errConflict if a conditional write found no row to write.
func mustHitOne(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	rows, err := result.RowsAffected()
	if err == nil && rows == 0 {
		err = errConflict
	}
	return err
}

// maxTries bounds how often a call starts over. Each conflict means that another call has
// succeeded, so only very many writers of one row get here.
const maxTries = 100

// untilNoConflict runs try, and runs it again as long as it returns errConflict.
func untilNoConflict(ctx context.Context, what string, try func() error) error {
	for range maxTries {
		if err := try(); !errors.Is(err, errConflict) {
			return err
		}
		select {
		case <-time.After(rand.N(2 * time.Millisecond)):
		case <-ctx.Done():
			return named(what, ctx.Err())
		}
	}
	return named(what, errors.New("too many others write the same row"))
}

// newVersion returns a random version. A count would start again at 1 after a row was
// deleted and made again. A writer that had read the old row could then overwrite the new
// one.
func newVersion() int64 { return rand.Int64() }

// unlessUnchanged returns the error of a change function, or nil for store.ErrUnchanged.
// Nothing is left to do then: a reader sees only what is on the disk already.
func unlessUnchanged(err error) error {
	if errors.Is(err, store.ErrUnchanged) {
		return nil
	}
	return err
}
