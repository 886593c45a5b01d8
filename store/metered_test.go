package store_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/storetest"
)

func TestMeteredBackendKeepsThePromises(t *testing.T) {
	storetest.Test(t, func(*testing.T) store.Backend { return store.NewMeteredBackend(memstore.New()) })
}

// TestMeteredBackendCountsCalls of each method, under its own name.
func TestMeteredBackendCountsCalls(t *testing.T) {
	metered := store.NewMeteredBackend(memstore.New())
	before := metered.Counts()
	require.Len(t, before, 9)
	for name, counts := range before {
		assert.Zero(t, counts, name)
	}
	ctx := t.Context()
	account := &store.Account{ID: store.NewID(), Name: "ann", EmailKey: "ann@example.org"}
	calls := []struct {
		name string
		call func() error
	}{
		{"Create", func() error { return metered.Create(ctx, account) }},
		{"FindByID", func() error { _, err := metered.FindByID(ctx, account.ID); return err }},
		{"FindByName", func() error { _, err := metered.FindByName(ctx, "ann"); return err }},
		{"FindByEmail", func() error { _, err := metered.FindByEmail(ctx, "ann@example.org"); return err }},
		{"List", func() error { _, err := metered.List(ctx, store.List{Limit: 1}); return err }},
		{"Update", func() error {
			return metered.Update(ctx, account.ID, func(account *store.Account) error { account.Phone = "1"; return nil })
		}},
		{"UpdateRecord", func() error {
			return metered.UpdateRecord(ctx, "key", time.Now(), func(record *store.Record) error {
				*record = store.Record{Value: []byte{1}, Expires: time.Now().Add(time.Hour)}
				return nil
			})
		}},
		{"Ping", func() error { return metered.Ping(ctx) }},
		{"Delete", func() error { return metered.Delete(ctx, account.ID) }},
	}
	require.Len(t, calls, len(before))
	for _, test := range calls {
		before := metered.Counts()
		require.NoError(t, test.call(), test.name)
		for name, counts := range metered.Counts() {
			want := before[name].Calls
			if name == test.name {
				want++
			}
			assert.Equal(t, want, counts.Calls, "%s after %s", name, test.name)
			assert.Zero(t, counts.Errors, name)
			assert.Equal(t, counts.Calls > 0, counts.Time > 0, name)
		}
	}
}

// broken is a backend that answers with an error of the test's choice.
type broken struct {
	store.Backend
	err error
}

func (b *broken) FindByID(context.Context, store.ID) (*store.Account, error) { return nil, b.err }

// Update runs the change, as a backend does that fails when it writes.
func (b *broken) Update(_ context.Context, _ store.ID, change func(*store.Account) error) error {
	if err := change(new(store.Account)); err != nil && !errors.Is(err, store.ErrUnchanged) {
		return err
	}
	return b.err
}

func (b *broken) UpdateRecord(_ context.Context, _ string, _ time.Time, change func(*store.Record) error) error {
	if err := change(new(store.Record)); err != nil && !errors.Is(err, store.ErrUnchanged) {
		return err
	}
	return b.err
}

// TestMeteredBackendCountsOutagesAsErrors: an answer that somebody does not like is none, and a
// caller who went away is none either.
func TestMeteredBackendCountsOutagesAsErrors(t *testing.T) {
	refusal := errors.New("the change refuses")
	for name, test := range map[string]struct {
		backend, change error
		find, update    int64 // errors
	}{
		"success":                       {nil, nil, 0, 0},
		"not found":                     {store.ErrNotFound, nil, 0, 0},
		"taken":                         {&store.ExistsError{Field: "name"}, nil, 0, 0},
		"the caller has gone":           {context.Canceled, nil, 0, 0},
		"too slow for the caller":       {context.DeadlineExceeded, nil, 1, 1},
		"unavailable":                   {store.ErrUnavailable, nil, 1, 1},
		"unavailable, since it ends":    {errors.Join(store.ErrUnavailable, context.Canceled), nil, 1, 1},
		"an error of a driver":          {errors.New("no such host"), nil, 1, 1},
		"the change refuses":            {store.ErrUnavailable, refusal, 1, 0},
		"the change says it is an end":  {store.ErrUnavailable, store.ErrUnavailable, 1, 0},
		"unchanged, and then an outage": {store.ErrUnavailable, store.ErrUnchanged, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			metered := store.NewMeteredBackend(&broken{err: test.backend})
			want := test.backend
			_, err := metered.FindByID(t.Context(), store.NilID)
			assert.Equal(t, want, err, "the error passes through as it is")
			if test.change != nil && !errors.Is(test.change, store.ErrUnchanged) {
				want = test.change
			}
			assert.Equal(t, want, metered.Update(t.Context(), store.NilID, func(*store.Account) error { return test.change }))
			assert.Equal(t, want, metered.UpdateRecord(t.Context(), "", time.Time{}, func(*store.Record) error { return test.change }))
			counts := metered.Counts()
			assert.Equal(t, test.find, counts["FindByID"].Errors)
			assert.Equal(t, test.update, counts["Update"].Errors)
			assert.Equal(t, test.update, counts["UpdateRecord"].Errors)
			assert.EqualValues(t, 1, counts["Update"].Calls)
		})
	}
}

// BenchmarkMeteredBackend shows what a count adds to a read.
func BenchmarkMeteredBackend(b *testing.B) {
	memory := memstore.New()
	account := &store.Account{ID: store.NewID(), Name: "ann", EmailKey: "ann@example.org"}
	require.NoError(b, memory.Create(b.Context(), account))
	for metered, backend := range map[bool]store.Backend{false: memory, true: store.NewMeteredBackend(memory)} {
		b.Run("metered="+strconv.FormatBool(metered), func(b *testing.B) {
			for b.Loop() {
				_, _ = backend.FindByID(b.Context(), account.ID)
			}
		})
	}
}
