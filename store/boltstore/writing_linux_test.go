package boltstore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// TestNothingIsWrittenIntoDamagedFile: bbolt takes from the file unchecked what the newest state is
// and which pages are free. If that has changed between the begin and the end of a write, the write
// would destroy more. So it is refused, and so is every later call.
func TestNothingIsWrittenIntoDamagedFile(t *testing.T) {
	pageSize := int64(os.Getpagesize())
	for name, test := range map[string]struct {
		// damage gets the file as it was before the last write, and what its newer header
		// says now.
		damage func(t *testing.T, path string, before []byte, head headOf)
		says   string
	}{
		"older headers": {func(t *testing.T, path string, before []byte, _ headOf) {
			writeAt(t, path, before[:2*pageSize], 0)
		}, "a completed write is missing"},
		"one header": {func(t *testing.T, path string, _ []byte, _ headOf) {
			writeAt(t, path, []byte{0xFF, 0xFF}, 16+30)
		}, "one of its two header pages"},
		"list of free pages with another number": {func(t *testing.T, path string, _ []byte, head headOf) {
			writeAt(t, path, native.AppendUint64(nil, head.freelist+1), int64(head.freelist)*pageSize)
		}, "list of free pages"},
		"page of another kind": {func(t *testing.T, path string, _ []byte, head headOf) {
			writeAt(t, path, native.AppendUint16(nil, 2), int64(head.freelist)*pageSize+8)
		}, "list of free pages"},
		"list of free pages beyond the end": {func(t *testing.T, path string, _ []byte, head headOf) {
			writeAt(t, path, native.AppendUint32(nil, uint32(head.end-head.freelist)), int64(head.freelist)*pageSize+12)
		}, "list of free pages"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			fill(t, path, 10)
			backend := open(t, path)
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, backend.Create(t.Context(), account(10)))
			var damaged []byte
			err = backend.Update(t.Context(), account(7).ID, func(a *store.Account) error {
				a.Disabled = true
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				test.damage(t, path, before, readHead(t, path))
				damaged, err = os.ReadFile(path)
				require.NoError(t, err)
				require.NotEqual(t, content, damaged)
				return nil
			})
			assert.ErrorIs(t, err, store.ErrUnavailable)
			assert.ErrorIs(t, err, boltstore.ErrDamaged)
			assert.ErrorContains(t, err, test.says)
			assert.ErrorIs(t, backend.Create(t.Context(), account(11)), boltstore.ErrDamaged)
			assert.ErrorIs(t, backend.Ping(t.Context()), boltstore.ErrDamaged)
			require.NoError(t, backend.Close())
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, damaged, after, "nothing was written")
		})
	}
}

// TestNoChangeOfAnOldState: the headers went back by one write before the next one. The change does
// not see that state, not even to find that nothing is to be changed.
func TestNoChangeOfAnOldState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 10)
	backend := open(t, path)
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, backend.Delete(t.Context(), account(7).ID))
	writeAt(t, path, before[:2*os.Getpagesize()], 0)
	err = backend.Update(t.Context(), account(7).ID, func(*store.Account) error {
		t.Error("the account was removed")
		return store.ErrUnchanged
	})
	assert.ErrorIs(t, err, boltstore.ErrDamaged)
	assert.ErrorContains(t, err, "a completed write is missing")
}

// TestReadersEndAfterTheHeadersAreGone: bbolt panics at the next read, and keeps its locks. Readers
// that have begun end all the same, and the store can be closed.
func TestReadersEndAfterTheHeadersAreGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 10)
	backend := open(t, path)
	entered, leave := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_, err := backend.WriteTo(slowWriter{entered, leave})
		assert.NoError(t, err, "it had begun before")
	})
	<-entered
	writeAt(t, path, make([]byte, 2*os.Getpagesize()), 0)
	_, err := backend.FindByID(t.Context(), account(7).ID)
	assert.ErrorIs(t, err, boltstore.ErrDamaged)
	close(leave)
	waitFor(&all)
	all.Go(func() { assert.NoError(t, backend.Close()) })
	waitFor(&all)
}

// TestNobodyIsOnlySaidBetweenWholeEntries: a name that is not there is said to be free only if the
// entries around its place are undamaged. Damage may have led the search to the wrong place.
func TestNobodyIsOnlySaidBetweenWholeEntries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 10)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	backend := open(t, path)
	for _, test := range []struct {
		absent     string
		neighbours []int // the accounts before and after its place
	}{
		{"a", []int{0}},
		{"account-4a", []int{4, 5}},
		{"z", []int{9}},
	} {
		for damaged := range 10 {
			entry := append([]byte(account(damaged).Name), account(damaged).ID[:]...)
			changed := bytes.Clone(entry)
			changed[len(changed)-5] ^= 1
			require.True(t, bytes.Contains(whole, entry))
			writeAt(t, path, bytes.ReplaceAll(whole, entry, changed), 0)

			_, err := backend.FindByName(t.Context(), test.absent)
			if slices.Contains(test.neighbours, damaged) {
				assert.ErrorIs(t, err, boltstore.ErrDamaged, "%s, entry of account %d", test.absent, damaged)
			} else {
				assert.ErrorIs(t, err, store.ErrNotFound, "%s, entry of account %d", test.absent, damaged)
			}
		}
		writeAt(t, path, whole, 0)
	}
}
