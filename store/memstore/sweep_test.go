package memstore

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
)

// TestExpiredRecordsDoNotPileUp: no method tells how many records there are, so the test looks.
// Beside 100 that live on, each call adds one that has expired at the next call.
func TestExpiredRecordsDoNotPileUp(t *testing.T) {
	s := New()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	add := func(key string, expires time.Time) {
		require.NoError(t, s.UpdateRecord(t.Context(), key, now, func(r *store.Record) error {
			*r = store.Record{Value: []byte{1}, Expires: expires}
			return nil
		}))
	}
	for i := range 100 {
		add("live"+strconv.Itoa(i), now.Add(time.Hour))
	}
	for i := range 20_000 {
		now = now.Add(time.Millisecond)
		add(strconv.Itoa(i), now.Add(time.Millisecond))
	}
	assert.Less(t, len(s.records), 1000)
	for i := range 100 {
		assert.Contains(t, s.records, "live"+strconv.Itoa(i))
	}
}
