package boltstore_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
