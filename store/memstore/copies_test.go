package memstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestChangeKeepsTheID: an account stays under the key that it was made with.
func TestChangeKeepsTheID(t *testing.T) {
	s := memstore.New()
	id := store.NewID()
	require.NoError(t, s.Create(t.Context(), &store.Account{ID: id, Name: "ada", EmailKey: "ada@example.org"}))
	require.NoError(t, s.Update(t.Context(), id, func(a *store.Account) error { a.ID = store.NewID(); a.Phone = "1"; return nil }))
	found, err := s.FindByName(t.Context(), "ada")
	require.NoError(t, err)
	assert.Equal(t, id, found.ID)
	assert.Equal(t, "1", found.Phone)
}

// TestRecordsShareNoMemory: neither with a change that gives up, nor with the bytes that one has written.
func TestRecordsShareNoMemory(t *testing.T) {
	s := memstore.New()
	now := time.Now()
	update := func(change func(*store.Record) error) error { return s.UpdateRecord(t.Context(), "key", now, change) }
	mine := []byte("abc")
	require.NoError(t, update(func(r *store.Record) error {
		r.Value, r.Expires = mine, now.Add(time.Hour)
		return nil
	}))
	mine[0] = 'x'
	gaveUp := errors.New("gave up")
	require.ErrorIs(t, update(func(r *store.Record) error { r.Value[1] = 'x'; return gaveUp }), gaveUp)
	require.ErrorIs(t, update(func(r *store.Record) error {
		assert.Equal(t, "abc", string(r.Value))
		return gaveUp
	}), gaveUp)
}
