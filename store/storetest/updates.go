package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

func testUpdateWrites(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	account, bystander := create(t, backend, "ada"), create(t, backend, "grace")
	require.NoError(t, backend.Update(ctx, account.ID, func(a *store.Account) error {
		a.Disabled = true
		a.ID = bystander.ID // has no effect
		return nil
	}))
	assert.True(t, find(t, backend, account.ID).Disabled)
	assert.Equal(t, bystander, find(t, backend, bystander.ID))
	byName, err := backend.FindByName(ctx, "ada")
	require.NoError(t, err)
	assert.True(t, byName.Disabled)

	err = backend.Update(ctx, store.NewID(), func(*store.Account) error {
		t.Error("change ran without a record")
		return nil
	})
	assert.ErrorIs(t, err, store.ErrNotFound)
}

func testUpdateErrorWritesNothing(t *testing.T, backend store.Backend) {
	account := create(t, backend, "ada")
	refusal := errors.New("refused")
	err := backend.Update(t.Context(), account.ID, func(a *store.Account) error {
		a.Name, a.Disabled = "x", true
		a.Email, a.EmailKey = "X@example.org", "x@example.org"
		return refusal
	})
	assert.Equal(t, refusal, err)
	assert.Equal(t, account, find(t, backend, account.ID))
	_, err = backend.FindByName(t.Context(), "x")
	assert.ErrorIs(t, err, store.ErrNotFound)
	_, err = backend.FindByEmail(t.Context(), "x@example.org")
	assert.ErrorIs(t, err, store.ErrNotFound)
}

func testUpdateUnchanged(t *testing.T, backend store.Backend) {
	account := create(t, backend, "ada")
	require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
		a.Name, a.Disabled = "x", true
		return store.ErrUnchanged
	}))
	assert.Equal(t, account, find(t, backend, account.ID))
	require.NoError(t, backend.UpdateRecord(t.Context(), "a", epoch, func(r *store.Record) error {
		r.Value, r.Expires = []byte("x"), epoch.Add(time.Hour)
		return store.ErrUnchanged
	}))
	require.NoError(t, backend.UpdateRecord(t.Context(), "a", epoch, func(r *store.Record) error {
		assert.Empty(t, r.Value)
		return nil
	}))
}

func testUpdatePanicHurtsNobody(t *testing.T, backend store.Backend) {
	account := create(t, backend, "ada")
	assert.PanicsWithValue(t, "mine", func() {
		_ = backend.Update(t.Context(), account.ID, func(*store.Account) error { panic("mine") })
	})
	require.NoError(t, backend.Update(t.Context(), account.ID, func(a *store.Account) error {
		a.Disabled = true
		return nil
	}))
	assert.True(t, find(t, backend, account.ID).Disabled)
}

func testUpdateMovesUniqueValues(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	account := create(t, backend, "ada")
	require.NoError(t, backend.Update(ctx, account.ID, func(a *store.Account) error {
		a.Name = "lovelace"
		a.Email, a.EmailKey = "Lovelace@example.org", "lovelace@example.org"
		return nil
	}))
	_, err := backend.FindByName(ctx, "ada")
	assert.ErrorIs(t, err, store.ErrNotFound)
	_, err = backend.FindByEmail(ctx, "ada@example.org")
	assert.ErrorIs(t, err, store.ErrNotFound)
	found, err := backend.FindByName(ctx, "lovelace")
	require.NoError(t, err)
	assert.Equal(t, account.ID, found.ID)
	assert.Equal(t, "Lovelace@example.org", found.Email)
	found, err = backend.FindByEmail(ctx, "lovelace@example.org")
	require.NoError(t, err)
	assert.Equal(t, account.ID, found.ID)
	create(t, backend, "ada") // the old values are free
}

func testUpdateRefusesTaken(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	create(t, backend, "grace")
	account := create(t, backend, "ada")
	assertExists(t, backend.Update(ctx, account.ID, func(a *store.Account) error {
		a.Name = "grace"
		return nil
	}), "name")
	assertExists(t, backend.Update(ctx, account.ID, func(a *store.Account) error {
		a.Name = "free"
		a.Email, a.EmailKey = "Grace@example.org", "grace@example.org"
		return nil
	}), "email")
	assert.Equal(t, account, find(t, backend, account.ID))
	_, err := backend.FindByName(ctx, "free")
	assert.ErrorIs(t, err, store.ErrNotFound)
}

func testUpdateRace(t *testing.T, backend store.Backend) {
	account := create(t, backend, "ada")
	const writers = 32
	var written, before [writers]*store.Account
	for _, err := range together(writers, func(i int) error {
		return backend.Update(context.WithoutCancel(t.Context()), account.ID, func(a *store.Account) error {
			a.Groups = append(a.Groups, fmt.Sprint(i))
			slices.Sort(a.Groups) // as Account.Groups is
			written[i], before[i] = a, a.Clone()
			return nil
		})
	}) {
		assert.NoError(t, err)
	}
	for i := range writers {
		assert.Equal(t, before[i].Groups, written[i].Groups, "the copy of one writer is not that of another")
	}
	groups := find(t, backend, account.ID).Groups
	assert.Len(t, groups, writers, "a write was lost or done twice")
	for i := range writers {
		assert.Contains(t, groups, fmt.Sprint(i))
	}
}
