package boltstore_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
)

// TestNothingToWriteIsNotCommitted counts commits by the number of the newest
// transaction in the file.
func TestNothingToWriteIsNotCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 10)
	backend := open(t, path)
	refusal := errors.New("refused")
	for name, test := range map[string]struct {
		call    func() error
		want    error
		commits uint64
	}{
		"update unchanged": {func() error {
			return backend.Update(bg, account(1).ID, func(a *store.Account) error {
				a.Disabled = !a.Disabled
				return store.ErrUnchanged
			})
		}, nil, 0},
		"update refused": {func() error {
			return backend.Update(bg, account(1).ID, func(*store.Account) error { return refusal })
		}, refusal, 0},
		"record unchanged": {func() error {
			_, err := getRecord(backend, 1)
			return err
		}, nil, 0},
		"name taken": {func() error {
			taken := account(11)
			taken.Name = account(1).Name
			return backend.Create(bg, taken)
		}, store.ErrExists, 0},
		"nothing to delete": {func() error { return backend.Delete(bg, store.NewID()) }, store.ErrNotFound, 0},
		"ping":              {func() error { return backend.Ping(bg) }, nil, 0},
		"record written":    {func() error { return putRecord(backend, 1) }, nil, 1},
		"update": {func() error {
			return backend.Update(bg, account(1).ID, func(*store.Account) error { return nil })
		}, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			before := transaction(t, path)
			require.ErrorIs(t, test.call(), test.want)
			assert.Equal(t, before+test.commits, transaction(t, path))
		})
	}
	_, wrong := answers(backend, 10)
	assert.NoError(t, wrong)
}

// TestRemovedRecordLeavesNothing: a record without a value is removed, with its expiry.
func TestRemovedRecordLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	backend := open(t, path)
	require.NoError(t, putRecord(backend, 1))
	require.NoError(t, backend.UpdateRecord(bg, "record-1", epoch, func(r *store.Record) error {
		r.Value = nil
		return nil
	}))
	require.NoError(t, backend.Close())
	edit(t, path, func(tx *bbolt.Tx) error {
		for _, name := range []string{"records", "expiries"} {
			key, _ := tx.Bucket([]byte(name)).Cursor().First()
			assert.Nil(t, key, name)
		}
		return nil
	})
}

// TestRefusalLeavesNothing checks that a key that is too long for bbolt is refused before
// anything is written.
func TestRefusalLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	backend := open(t, path)
	long := string(make([]byte, 32<<10))
	require.Error(t, backend.UpdateRecord(bg, long, epoch, func(r *store.Record) error {
		r.Value, r.Expires = []byte("x"), epoch.AddDate(1, 0, 0)
		return nil
	}))
	for _, change := range []func(*store.Account){
		func(a *store.Account) { a.Name = long + "x" },
		func(a *store.Account) { a.EmailKey = long + "x" },
		func(a *store.Account) { a.Groups = []string{"a", long[:len(long)-12]} },
	} {
		refused := account(1)
		change(refused)
		require.Error(t, backend.Create(bg, refused))
		_, err := backend.FindByID(bg, refused.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
	}
	require.NoError(t, backend.Ping(bg))
	require.NoError(t, backend.Create(bg, account(1)))

	// The documentation has the bound.
	const most = 32_760
	record := func(r *store.Record) error {
		r.Value, r.Expires = []byte("x"), epoch.AddDate(1, 0, 0)
		return nil
	}
	assert.NoError(t, backend.UpdateRecord(bg, long[:1], epoch, record))
	assert.NoError(t, backend.UpdateRecord(bg, long[:most], epoch, record))
	assert.ErrorContains(t, backend.UpdateRecord(bg, long[:most+1], epoch, record), "too long")
	assert.ErrorContains(t, backend.UpdateRecord(bg, "", epoch, record), "empty")
	for i, set := range []func(*store.Account, string){
		func(a *store.Account, text string) { a.Name = text },
		func(a *store.Account, text string) { a.EmailKey = text },
	} {
		longest, longer := account(10+i), account(20+i)
		set(longest, long[:most])
		assert.NoError(t, backend.Create(bg, longest))
		set(longer, long[:most+1])
		assert.ErrorContains(t, backend.Create(bg, longer), "too long")
	}

	require.NoError(t, backend.Update(bg, account(1).ID, func(a *store.Account) error { // an empty text has no entry in an index
		a.EmailKey = ""
		return nil
	}))
	require.Error(t, backend.Update(bg, account(1).ID, func(a *store.Account) error {
		a.Groups = append(a.Groups, long)
		return nil
	}))
	require.NoError(t, backend.Update(bg, account(1).ID, func(a *store.Account) error { // just not too long
		a.Groups = append(a.Groups, long[:len(long)-13])
		return nil
	}))
	members, err := backend.List(bg, store.List{By: store.ListByGroup, Match: long[:len(long)-13], Limit: 2})
	require.NoError(t, err)
	require.Len(t, members, 1)
	members, err = backend.List(bg, store.List{By: store.ListByGroup, Match: "a", Limit: 2})
	require.NoError(t, err)
	require.Empty(t, members)
	nameless := account(2)
	nameless.Name = ""
	require.NoError(t, backend.Create(bg, nameless))
	require.NoError(t, backend.Close())
	open(t, path)
}

// TestExpiredRecordsAreRemoved: each write removes the two that expired first. So they do not pile
// up, and no write takes long.
func TestExpiredRecordsAreRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 5) // record i expires after an hour and i seconds
	write := func(now time.Time) {
		backend := open(t, path)
		require.NoError(t, backend.UpdateRecord(bg, "new", now, func(r *store.Record) error {
			r.Value, r.Expires = []byte("x"), now.AddDate(1, 0, 0)
			return nil
		}))
		require.NoError(t, backend.Close())
	}
	kept := func() (keys []string) {
		edit(t, path, func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("records")).ForEach(func(key, _ []byte) error {
				keys = append(keys, string(key))
				return nil
			})
		})
		return keys
	}
	expired := epoch.Add(time.Hour + 3*time.Second)
	write(epoch)
	assert.Equal(t, []string{"new", "record-0", "record-1", "record-2", "record-3", "record-4"}, kept())
	write(expired.Add(-3*time.Second - time.Millisecond))
	assert.Len(t, kept(), 6, "none has expired")
	write(expired)
	assert.Equal(t, []string{"new", "record-2", "record-3", "record-4"}, kept())
	write(expired)
	assert.Equal(t, []string{"new", "record-4"}, kept())
	write(expired)
	assert.Equal(t, []string{"new", "record-4"}, kept(), "it has not expired")
}
