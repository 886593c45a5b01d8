package boltstore_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// These tests write what bbolt never does into its pages. A flipped bit rarely makes them so.

var native = binary.NativeEndian

// headOf is what the newer header page of a file says.
type headOf struct{ root, freelist, end uint64 }

func readHead(t testing.TB, path string) headOf {
	t.Helper()
	page := make([]byte, os.Getpagesize())
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	_, err = file.ReadAt(page, int64(transaction(t, path)%2)*int64(len(page)))
	require.NoError(t, err)
	return headOf{native.Uint64(page[32:]), native.Uint64(page[48:]), native.Uint64(page[56:])}
}

// keyOf returns the key of element i of a page, in the page.
func keyOf(page []byte, i int) []byte {
	head := 16 + 16*i // the position in a branch page comes first, in a leaf page after flags
	fields := page[head:]
	if native.Uint16(page[8:]) != 1 {
		fields = fields[4:]
	}
	at := head + int(native.Uint32(fields))
	return page[at : at+int(native.Uint32(fields[4:]))]
}

// TestFreePagesThatCannotBeFree: bbolt writes over the pages that its list says are free. So the
// list must be right before bbolt gets the file.
func TestFreePagesThatCannotBeFree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 300)
	backend := open(t, path)
	for i := range 50 {
		require.NoError(t, backend.Delete(bg, account(i).ID))
	}
	require.NoError(t, backend.Close())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	pageSize := os.Getpagesize()
	head := readHead(t, path)
	listed := func(content []byte) []byte { return content[int(head.freelist)*pageSize:][:pageSize] }
	count := int(native.Uint16(listed(content)[10:]))
	require.Greater(t, count, 2)
	for name, test := range map[string]struct {
		change func(list []byte)
		says   string
	}{
		"a page in use":         {func(list []byte) { native.PutUint64(list[16:], head.root) }, "in use twice"},
		"a page twice":          {func(list []byte) { copy(list[24:32], list[16:24]) }, "in use twice"},
		"a header page":         {func(list []byte) { native.PutUint64(list[16:], 1) }, "page 1 does not exist"},
		"a page after the last": {func(list []byte) { native.PutUint64(list[8+8*count:], head.end) }, "does not exist"},
		"one page too few":      {func(list []byte) { native.PutUint16(list[10:], uint16(count-1)) }, "1 pages are neither in use nor free"},
		"more than there is":    {func(list []byte) { native.PutUint16(list[10:], uint16(pageSize/8-1)) }, "the list of free pages is cut short"},
	} {
		t.Run(name, func(t *testing.T) {
			damaged := bytes.Clone(content)
			test.change(listed(damaged))
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			_, err := boltstore.Open(path, boltstore.Config{})
			assert.ErrorIs(t, err, boltstore.ErrDamaged)
			assert.ErrorContains(t, err, test.says)
		})
	}
}

// TestEachTableMustBeThere: a file without one of its tables is damaged.
func TestEachTableMustBeThere(t *testing.T) {
	for _, name := range []string{"accounts", "names", "emails", "groups", "records", "expiries"} {
		path := filepath.Join(t.TempDir(), "test.db")
		fill(t, path, 10)
		edit(t, path, func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(name)) })
		_, err := boltstore.Open(path, boltstore.Config{})
		assert.ErrorIs(t, err, boltstore.ErrDamaged, name)
		assert.ErrorContains(t, err, "the table of "+name+" is missing")
	}
}

// TestKeyThatSearchesMiss: a search goes by the keys of the branch pages. If an entry stands on the
// wrong side of such a key, no search finds it. Open refuses the file. If the damage comes later,
// the entry is not said to be absent.
func TestKeyThatSearchesMiss(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 300)
	pageSize := os.Getpagesize()
	var root int
	edit(t, path, func(tx *bbolt.Tx) error {
		root = int(tx.Bucket([]byte("accounts")).Root()) * pageSize
		return nil
	})
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.EqualValues(t, 1, native.Uint16(content[root+8:]), "a branch page")
	left := content[int(native.Uint64(content[root+16+8:]))*pageSize:]
	last := int(native.Uint16(left[10:])) - 1
	for name, nth := range map[string]int{"the last entry": last, "the entry before it": last - 1} {
		t.Run(name, func(t *testing.T) {
			id := store.ID(keyOf(left, nth))
			damaged := bytes.Clone(content)
			copy(keyOf(damaged[root:], 1), id[:])
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			_, err := boltstore.Open(path, boltstore.Config{})
			assert.ErrorIs(t, err, boltstore.ErrDamaged)
			assert.ErrorContains(t, err, "the keys are not in order")

			backend, err := boltstore.Open(path, boltstore.Config{NoCheck: true})
			require.NoError(t, err)
			_, err = backend.FindByID(bg, id)
			assert.ErrorIs(t, err, boltstore.ErrDamaged)
			_, err = backend.List(bg, store.List{By: store.ListByID, After: id.Hex(), Limit: 2})
			assert.ErrorIs(t, err, boltstore.ErrDamaged)
			require.NoError(t, backend.Close())
		})
	}
}

// TestEntryTwiceIsNotListedTwice: one entry was overwritten by a copy of that before it.
func TestEntryTwiceIsNotListedTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, 10)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	const sumSize = 4
	entry := func(content []byte, i int) []byte {
		text := append([]byte(account(i).Name), account(i).ID[:]...)
		at := bytes.Index(content, text)
		if at < 0 {
			return nil
		}
		return content[at:][:len(text)+sumSize]
	}
	for old := entry(content, 5); old != nil; old = entry(content, 5) { // the file has copies of it
		copy(old, entry(content, 4))
	}
	require.NoError(t, os.WriteFile(path, content, 0o600))
	_, err = boltstore.Open(path, boltstore.Config{})
	assert.ErrorIs(t, err, boltstore.ErrDamaged)
	backend, err := boltstore.Open(path, boltstore.Config{NoCheck: true})
	require.NoError(t, err)
	defer backend.Close()
	_, err = backend.List(bg, store.List{By: store.ListByName, Limit: 10})
	assert.ErrorIs(t, err, boltstore.ErrDamaged)
}

// TestCheckNeedsLittleMemory: a bit for each page, as the documentation of the check says.
func TestCheckNeedsLittleMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	require.NoError(t, open(t, path).Close())
	const size = 32 << 20
	edit(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("accounts")).Put([]byte("large"), make([]byte, size))
	})
	edit(t, path, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("accounts")).Delete([]byte("large")) })
	require.Greater(t, readHead(t, path).end, uint64(size/os.Getpagesize()))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	backend, err := boltstore.Open(path, boltstore.Config{})
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	require.NoError(t, backend.Close())
	taken := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d KiB", taken>>10)
	assert.Less(t, taken, uint64(size/16))
}
