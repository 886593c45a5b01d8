package mongostore_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
)

// TestTwoStoresLoseNoWrite checks two processes that write the same account or record at once.
// While change of one of them runs, the other one writes. Then change runs again on what the
// other one wrote. It does so too if it refused or had nothing to write, because what it saw is
// not there any more.
func TestTwoStoresLoseNoWrite(t *testing.T) {
	uri := mongotest.URI(t)
	one, other := open(t, uri), open(t, uri)

	// An answer is what change returns while the other one still writes.
	for name, test := range map[string]struct {
		others int // how often the other one writes
		answer error
	}{
		"account: nobody else":        {0, nil},
		"account: change":             {1, nil},
		"account: nothing to write":   {1, store.ErrUnchanged},
		"account: refusal":            {1, errors.New("refused")},
		"account: again and again":    {5, nil},
		"account: nothing, and again": {5, store.ErrUnchanged},
	} {
		t.Run(name, func(t *testing.T) {
			id := store.NewID()
			require.NoError(t, one.Create(t.Context(), &store.Account{ID: id, Name: id.Hex(), EmailKey: id.Hex()}))
			var saw, want []string
			for n := range test.others + 1 {
				want = append(want, strings.Repeat("2", n))
			}
			require.NoError(t, one.Update(t.Context(), id, func(a *store.Account) error {
				saw = append(saw, a.Phone)
				a.Phone += "1"
				if len(saw) > test.others {
					return nil
				}
				require.NoError(t, other.Update(t.Context(), id, func(a *store.Account) error { a.Phone += "2"; return nil }))
				return test.answer
			}))
			assert.Equal(t, want, saw)
			found, err := other.FindByID(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, strings.Repeat("2", test.others)+"1", found.Phone)
		})
	}

	now := time.Now()
	set := func(value string) func(*store.Record) error {
		return func(r *store.Record) error {
			r.Value, r.Expires = []byte(value), now.Add(time.Hour)
			return nil
		}
	}
	change := func(r *store.Record) error { return set(string(r.Value) + "1")(r) }
	remove := set("")
	for name, test := range map[string]struct {
		before string
		others []string // what the other one writes, one after the other; it removes the record by ""
		change func(*store.Record) error
		answer error
		after  string
	}{
		"record: change, nobody else":       {"0", nil, change, nil, "01"},
		"record: change, changed":           {"0", []string{"2"}, change, nil, "21"},
		"record: change, removed":           {"0", []string{""}, change, nil, "1"},
		"record: change, again and again":   {"0", []string{"2", "", "3", "4", "5"}, change, nil, "51"},
		"record: add, added":                {"", []string{"2"}, change, nil, "21"},
		"record: add, added and removed":    {"", []string{"2", ""}, change, nil, "1"},
		"record: add, again and again":      {"", []string{"2", "", "3", "", "4"}, change, nil, "41"},
		"record: remove, nobody else":       {"0", nil, remove, nil, ""},
		"record: remove, changed":           {"0", []string{"2"}, remove, nil, ""},
		"record: remove, removed":           {"0", []string{""}, remove, nil, ""},
		"record: remove, again and again":   {"0", []string{"2", "3", "4", "5", "6"}, remove, nil, ""},
		"record: nothing to write, changed": {"0", []string{"2"}, change, store.ErrUnchanged, "21"},
		"record: nothing to write, removed": {"0", []string{""}, change, store.ErrUnchanged, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, other.UpdateRecord(t.Context(), name, now, set(test.before)))
			var saw []string
			require.NoError(t, one.UpdateRecord(t.Context(), name, now, func(r *store.Record) error {
				saw = append(saw, string(r.Value))
				err := test.change(r)
				if n := len(saw); n <= len(test.others) {
					require.NoError(t, other.UpdateRecord(t.Context(), name, now, set(test.others[n-1])))
					err = test.answer
				}
				return err
			}))
			assert.Equal(t, append([]string{test.before}, test.others...), saw)
			require.NoError(t, other.UpdateRecord(t.Context(), name, now, func(r *store.Record) error {
				assert.Equal(t, test.after, string(r.Value))
				return store.ErrUnchanged
			}))
		})
	}
}
