package sqlbackend_test

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/docs/sqlbackend"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/storetest"
)

//go:embed shop/team.sql
var teamSQL string

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)

func openDB(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sqlbackend.OpenDB(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db
}

// openTeamDB makes a database as the team had it before the kit came.
func openTeamDB(t *testing.T) (db *sql.DB, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "team ?#%.db")
	db = openDB(t, path)
	exec(t, db, teamSQL)
	return db, path
}

func exec(t *testing.T, db *sql.DB, statements string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), statements, args...)
	require.NoError(t, err)
}

func openBackend(t *testing.T, db *sql.DB) *sqlbackend.Backend {
	t.Helper()
	backend, err := sqlbackend.New(t.Context(), db)
	require.NoError(t, err)
	return backend
}

// openEmpty makes a database without users.
func openEmpty(t *testing.T) (*sqlbackend.Backend, *sql.DB, string) {
	t.Helper()
	db, path := openTeamDB(t)
	exec(t, db, "DELETE FROM users")
	return openBackend(t, db), db, path
}

func newAccount(name string) *store.Account {
	return &store.Account{
		ID: store.NewID(), Name: name, Email: name + "@example.org", EmailKey: name + "@example.org",
		Groups: []string{}, Sessions: []store.Session{}, Created: epoch, Modified: epoch, LastAction: epoch,
	}
}

func TestBackend(t *testing.T) {
	storetest.Test(t, func(t *testing.T) store.Backend {
		backend, _, _ := openEmpty(t)
		return backend
	})
}

// TestTwoProcessesLoseNoWrite uses two pools on one file, as two processes would.
func TestTwoProcessesLoseNoWrite(t *testing.T) {
	ctx := t.Context()
	first, _, path := openEmpty(t)
	backends := []*sqlbackend.Backend{first, openBackend(t, openDB(t, path))}
	account := newAccount("ada")
	require.NoError(t, first.Create(ctx, account))
	const writers = 16
	errs := make([]error, 2*writers)
	var all sync.WaitGroup
	for i := range writers {
		backend := backends[i%2]
		all.Go(func() {
			errs[2*i] = backend.Update(context.WithoutCancel(ctx), account.ID, func(a *store.Account) error {
				a.Groups = append(a.Groups, fmt.Sprintf("group-%02d", i))
				slices.Sort(a.Groups)
				return nil
			})
		})
		all.Go(func() {
			errs[2*i+1] = backend.UpdateRecord(context.WithoutCancel(ctx), "counter", epoch, func(r *store.Record) error {
				r.Value, r.Expires = append(r.Value, 'x'), epoch.Add(time.Hour)
				return nil
			})
		})
	}
	all.Wait()
	for _, err := range errs {
		assert.NoError(t, err)
	}
	for _, backend := range backends {
		found, err := backend.FindByID(ctx, account.ID)
		require.NoError(t, err)
		assert.Len(t, found.Groups, writers)
		for _, group := range found.Groups {
			listed, err := backend.List(ctx, store.List{By: store.ListByGroup, Match: group, Limit: 2})
			require.NoError(t, err)
			assert.Equal(t, []*store.Account{found}, listed)
		}
		require.NoError(t, backend.UpdateRecord(ctx, "counter", epoch, func(r *store.Record) error {
			assert.Len(t, r.Value, writers)
			return store.ErrUnchanged
		}))
	}
}

// TestEveryConnectionIsDurable holds as many connections as the pool has, and reads the
// settings of each.
func TestEveryConnectionIsDurable(t *testing.T) {
	_, db, _ := openEmpty(t)
	for range db.Stats().MaxOpenConnections {
		connection, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer func() { assert.NoError(t, connection.Close()) }()
		for setting, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "busy_timeout": "5000"} {
			var got string
			require.NoError(t, connection.QueryRowContext(t.Context(), "PRAGMA "+setting).Scan(&got))
			assert.Equal(t, want, got, setting)
		}
	}
}

func TestFailuresAreUnavailable(t *testing.T) {
	ctx := t.Context()
	backend, db, path := openEmpty(t)
	account := newAccount("ada")
	require.NoError(t, backend.Create(ctx, account))
	calls := func(ctx context.Context, backend store.Backend) map[string]error {
		_, byID := backend.FindByID(ctx, account.ID)
		_, list := backend.List(ctx, store.List{Limit: 1})
		return map[string]error{
			"FindByID": byID, "List": list, "Ping": backend.Ping(ctx),
			"Create": backend.Create(ctx, newAccount("grace")),
			"Update": backend.Update(ctx, account.ID, func(*store.Account) error { return nil }),
			"Delete": backend.Delete(ctx, account.ID),
			"UpdateRecord": backend.UpdateRecord(ctx, "a", epoch, func(r *store.Record) error {
				r.Value, r.Expires = []byte("x"), epoch.Add(time.Hour)
				return nil
			}),
		}
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	for name, err := range calls(over, backend) {
		assert.ErrorIs(t, err, store.ErrUnavailable, name)
		assert.ErrorIs(t, err, context.Canceled, name)
	}
	found, err := backend.FindByID(ctx, account.ID)
	require.NoError(t, err)
	assert.Equal(t, account, found)

	closed := openDB(t, path)
	other := openBackend(t, closed)
	require.NoError(t, closed.Close())
	for name, err := range calls(ctx, other) {
		assert.ErrorIs(t, err, store.ErrUnavailable, name)
	}

	exec(t, db, "UPDATE users SET sessions = x'ff'")
	_, err = backend.FindByID(ctx, account.ID)
	assert.ErrorIs(t, err, store.ErrUnavailable, "a row that cannot be read")
}

// TestContextEndsTheWaitForAnotherWriter: a caller that has gone does not wait.
func TestContextEndsTheWaitForAnotherWriter(t *testing.T) {
	backend, db, _ := openEmpty(t)
	other, err := db.BeginTx(t.Context(), nil) // a transaction of the team's that takes long
	require.NoError(t, err)
	defer func() { assert.NoError(t, other.Rollback()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err = backend.Create(ctx, newAccount("ada"))
	assert.ErrorIs(t, err, store.ErrUnavailable)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = backend.FindByName(t.Context(), "ada") // readers do not wait for the writer
	assert.ErrorIs(t, err, store.ErrNotFound)
}

func TestExpiredRecordsAreRemovedInSmallSteps(t *testing.T) {
	ctx := t.Context()
	backend, db, _ := openEmpty(t)
	write := func(key string, now time.Time) {
		t.Helper()
		require.NoError(t, backend.UpdateRecord(ctx, key, now, func(r *store.Record) error {
			r.Value, r.Expires = []byte("x"), now.Add(time.Minute)
			return nil
		}))
	}
	count := func() (n int) {
		t.Helper()
		require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM expiring_records").Scan(&n))
		return n
	}
	for i := range 10 {
		write(fmt.Sprint("old", i), epoch)
	}
	write("within an hour", epoch.Add(time.Hour))
	assert.Equal(t, 11, count(), "the clocks of servers differ by less than an hour")
	later := epoch.Add(time.Hour + 2*time.Minute)
	for _, left := range []int{8, 4, 2} { // one call adds none or one, and removes four or what is left
		write("new", later)
		assert.Equal(t, left, count())
	}
}
