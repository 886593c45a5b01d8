package transfer_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/transfer"
)

// FuzzReadLines checks that any text is imported without a failure, that each line counts
// once at most, and that what was imported can be exported and imported elsewhere.
func FuzzReadLines(f *testing.F) {
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := bytes.Count(text, []byte("\n")) + 1
		last := 0
		for record, err := range transfer.ReadLines(bytes.NewReader(text)) {
			require.NotErrorIs(t, err, transfer.ErrSource)
			require.Greater(t, record.Number, last)
			require.LessOrEqual(t, record.Number, lines)
			last = record.Number
		}
		from := newAccounts(t, memstore.New())
		first := importFrom(t.Context(), t, from, bytes.NewReader(text))
		require.NoError(t, first.err)
		require.LessOrEqual(t, first.Imported+first.Present+first.Refused, lines)
		require.Len(t, first.refused, first.Refused)

		moved := export(t, from)
		require.Equal(t, first.Imported, strings.Count(moved, "\n"))
		to := newAccounts(t, memstore.New())
		second := importFrom(t.Context(), t, to, strings.NewReader(moved))
		require.NoError(t, second.err)
		require.Equal(t, transfer.Counts{Imported: first.Imported}, second.Counts, second.refused)
		require.Equal(t, moved, export(t, to))
	})
}
