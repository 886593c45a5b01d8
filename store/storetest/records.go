package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

func testRecords(t *testing.T, backend store.Backend) {
	ctx := t.Context()
	read := func(key string, now time.Time) (found store.Record) {
		t.Helper()
		refusal := errors.New("only reading")
		err := backend.UpdateRecord(ctx, key, now, func(r *store.Record) error {
			found = *r
			return refusal
		})
		require.Equal(t, refusal, err)
		return found
	}
	write := func(key, value string, expires time.Time) {
		t.Helper()
		require.NoError(t, backend.UpdateRecord(ctx, key, epoch, func(r *store.Record) error {
			r.Value, r.Expires = []byte(value), expires
			return nil
		}))
	}
	assert.Empty(t, read("a", epoch).Value)
	write("a", "1", epoch.Add(time.Second))
	write("b", "2", epoch.Add(time.Minute))
	assert.Equal(t, store.Record{Value: []byte("1"), Expires: epoch.Add(time.Second)}, read("a", epoch))
	assert.Equal(t, "1", string(read("a", epoch.Add(999*time.Millisecond)).Value))
	assert.Empty(t, read("a", epoch.Add(time.Second)).Value, "expired on the millisecond")
	assert.Equal(t, "2", string(read("b", epoch.Add(time.Second)).Value))

	write("a", "3", epoch.Add(time.Hour))
	assert.Equal(t, "3", string(read("a", epoch.Add(2*time.Second)).Value), "written anew")
	require.NoError(t, backend.UpdateRecord(ctx, "a", epoch, func(r *store.Record) error {
		r.Value = nil
		return nil
	}))
	assert.Empty(t, read("a", epoch).Value)
	assert.Equal(t, "2", string(read("b", epoch).Value))

	for i := range 20 { // a record that has expired does not hinder a new one
		write(fmt.Sprint("old", i), "x", epoch.Add(time.Millisecond))
	}
	for i := range 20 {
		key := fmt.Sprint("old", i)
		require.NoError(t, backend.UpdateRecord(ctx, key, epoch.Add(time.Second), func(r *store.Record) error {
			assert.Empty(t, r.Value)
			r.Value, r.Expires = []byte("new"), epoch.Add(time.Hour)
			return nil
		}))
	}
	for i := range 20 {
		assert.Equal(t, "new", string(read(fmt.Sprint("old", i), epoch.Add(time.Minute)).Value))
	}
}

// testRecordRace checks also that a writer finds what the one before it wrote as the backend keeps
// it, and not memory that belongs to that writer.
func testRecordRace(t *testing.T, backend store.Backend) {
	const writers = 32
	for _, err := range together(writers, func(int) error {
		var mine []byte
		err := backend.UpdateRecord(t.Context(), "counter", epoch, func(r *store.Record) error {
			if len(r.Value) > 0 {
				assert.Equal(t, epoch.Add(time.Hour), r.Expires, "to the millisecond")
			}
			r.Value, r.Expires = append(r.Value, 'x'), epoch.Add(time.Hour+time.Nanosecond)
			mine = r.Value
			return nil
		})
		for i := range mine {
			mine[i] = 'y'
		}
		return err
	}) {
		assert.NoError(t, err)
	}
	_ = backend.UpdateRecord(t.Context(), "counter", epoch, func(r *store.Record) error {
		assert.Equal(t, strings.Repeat("x", writers), string(r.Value), "a write was lost or done twice")
		return errors.New("only reading")
	})
}
