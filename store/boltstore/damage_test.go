package boltstore_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// outcomes counts what happened with damaged files.
type outcomes struct{ refused, unavailable, right, wrong int }

// try opens a damaged file and reads everything.
func (o *outcomes) try(t *testing.T, content []byte, accounts int, what string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "damaged.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	defer os.Remove(path)
	backend, err := boltstore.Open(path, boltstore.Config{})
	if err != nil {
		assert.True(t, errors.Is(err, boltstore.ErrDamaged) || errors.Is(err, boltstore.ErrForeign) || errors.Is(err, boltstore.ErrNewer), "%s: got %v", what, err)
		o.refused++
		return
	}
	unavailable, wrong := answers(backend, accounts)
	unlisted, wrongList := lists(backend, accounts)
	unavailable, wrong = unavailable+unlisted, cmp.Or(wrong, wrongList)
	assert.NoError(t, backend.Close())
	switch {
	case wrong != nil:
		t.Errorf("%s: %v", what, wrong)
		o.wrong++
	case unavailable > 0:
		o.unavailable++
	default:
		o.right++
	}
}

// TestFlippedBitIsNeverAnswered flips one bit at a time, anywhere in the pages of a file. The
// file must be refused, or every read must return the right result.
//
// OAUTHSV_TEST_FLIPS is how many bits it flips, 200 by default.
func TestFlippedBitIsNeverAnswered(t *testing.T) {
	const accounts = 100
	content := filled(t, accounts)
	random := rand.New(rand.NewPCG(1, 2))
	var o outcomes
	for range number(t, "OAUTHSV_TEST_FLIPS", 200) {
		at, bit := random.IntN(len(content)), random.IntN(8)
		damaged := bytes.Clone(content)
		damaged[at] ^= 1 << bit
		o.try(t, damaged, accounts, fmt.Sprintf("bit %d of byte %d", bit, at))
	}
	t.Logf("%+v", o)
	assert.Positive(t, o.refused)
	assert.Zero(t, o.unavailable, "damage that Open has missed")
}

// TestFlippedHeaderBitIsRefused checks a damaged header page, with which bbolt would go back
// to the state before the last write.
func TestFlippedHeaderBitIsRefused(t *testing.T) {
	content := filled(t, 10)
	for page := range 2 {
		for at := range 64 {
			damaged := bytes.Clone(content)
			damaged[page*os.Getpagesize()+16+at] ^= 1 << (at % 8)
			path := filepath.Join(t.TempDir(), "damaged.db")
			require.NoError(t, os.WriteFile(path, damaged, 0o600))
			_, err := boltstore.Open(path, boltstore.Config{})
			require.ErrorIs(t, err, boltstore.ErrDamaged, "byte %d of header %d", at, page)
			assert.ErrorContains(t, err, "AcceptLostWrite")
		}
	}
}

// TestAcceptLostWrite checks that with the option the file opens in one of its last two
// states, and is undamaged from then on.
func TestAcceptLostWrite(t *testing.T) {
	const accounts = 50
	path := filepath.Join(t.TempDir(), "test.db")
	fill(t, path, accounts)
	backend := open(t, path)
	require.NoError(t, backend.Create(t.Context(), account(accounts)))
	require.NoError(t, backend.Close())
	newest := int64(transaction(t, path) % 2)
	for _, header := range []int64{newest, 1 - newest} {
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = file.WriteAt([]byte{0xFF, 0xFF}, header*int64(os.Getpagesize())+16+30)
		require.NoError(t, errors.Join(err, file.Close()))
		_, err = boltstore.Open(path, boltstore.Config{})
		require.ErrorIs(t, err, boltstore.ErrDamaged)

		var log bytes.Buffer
		backend, err := boltstore.Open(path, boltstore.Config{AcceptLostWrite: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		assert.Contains(t, log.String(), "level=WARN")
		unavailable, wrong := answers(backend, accounts)
		assert.NoError(t, wrong)
		assert.Zero(t, unavailable)
		_, err = backend.FindByID(t.Context(), account(accounts).ID)
		if header == newest {
			assert.ErrorIs(t, err, store.ErrNotFound, "the last write is lost")
			require.NoError(t, backend.Create(t.Context(), account(accounts)))
		} else {
			assert.NoError(t, err, "the older header leads nowhere new")
		}
		require.NoError(t, backend.Close())
		backend, err = boltstore.Open(path, boltstore.Config{})
		require.NoError(t, err, "the header was written anew")
		require.NoError(t, backend.Close())
		newest = int64(transaction(t, path) % 2)
	}
}

// TestSwappedRecordsAreRefused checks undamaged values that stand under another key, or that
// are from a format without checksums.
func TestSwappedRecordsAreRefused(t *testing.T) {
	content := filled(t, 50)
	swap := func(bucket string) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			first, value1 := b.Cursor().First()
			last, value2 := b.Cursor().Last()
			value1, value2 = bytes.Clone(value1), bytes.Clone(value2)
			return errors.Join(b.Put(bytes.Clone(first), value2), b.Put(bytes.Clone(last), value1))
		}
	}
	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"accounts": swap("accounts"),
		"names":    swap("names"),
		"emails":   swap("emails"),
		"records":  swap("records"),
		"without checksum": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("accounts"))
			key, value := b.Cursor().First()
			return b.Put(bytes.Clone(key), bytes.Clone(value[:len(value)-4]))
		},
		"entry of names gone": func(tx *bbolt.Tx) error {
			key, _ := tx.Bucket([]byte("names")).Cursor().First()
			return tx.Bucket([]byte("names")).Delete(key)
		},
		"entry of expiries gone": func(tx *bbolt.Tx) error {
			key, _ := tx.Bucket([]byte("expiries")).Cursor().First()
			return tx.Bucket([]byte("expiries")).Delete(key)
		},
		"entry of groups gone": func(tx *bbolt.Tx) error {
			key, _ := tx.Bucket([]byte("groups")).Cursor().First()
			return tx.Bucket([]byte("groups")).Delete(key)
		},
		"entry of groups under another key": func(tx *bbolt.Tx) error {
			key, value := tx.Bucket([]byte("groups")).Cursor().First()
			return tx.Bucket([]byte("groups")).Put(append([]byte("x"), key...), bytes.Clone(value))
		},
		"groups gone": func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("groups")) },
		"account gone": func(tx *bbolt.Tx) error {
			key, _ := tx.Bucket([]byte("accounts")).Cursor().First()
			return tx.Bucket([]byte("accounts")).Delete(key)
		},
		"back to format 1": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("1"))
		},
		"back to format 2": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte("2"))
		},
		"upgrade that never was": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("upgrade"), []byte{0})
		},
		"upgrade of groups that never was": func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("upgrade"), []byte{5})
		},
		"upgrade beyond the last table": upgradeAt("3", 6),
		"upgrade of nothing":            upgradeAt("3"),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			require.NoError(t, os.WriteFile(path, content, 0o600))
			edit(t, path, change)
			_, err := boltstore.Open(path, boltstore.Config{})
			require.ErrorIs(t, err, boltstore.ErrDamaged)
			_, err = boltstore.Open(path, boltstore.Config{})
			require.ErrorIs(t, err, boltstore.ErrDamaged, "the lock was released")
		})
	}
}

// upgradeAt says that a file of a format is in the middle of an upgrade, with the right checksum.
func upgradeAt(format string, marker ...byte) func(tx *bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		meta := tx.Bucket([]byte("meta"))
		sum := sealed("meta", []byte(format), marker)[len(marker):]
		return errors.Join(meta.Put([]byte("upgrade"), marker), meta.Put([]byte("sum"), sum))
	}
}

// edit changes a file with bbolt, without this package.
func edit(t testing.TB, path string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(change))
	require.NoError(t, db.Close())
}

// TestRandomDamageNeverPanics damages several bytes at once, half of the time in the heads of
// pages.
func TestRandomDamageNeverPanics(t *testing.T) {
	const accounts = 100
	content := filled(t, accounts)
	random := rand.New(rand.NewPCG(3, 4))
	var o outcomes
	for round := range 300 {
		damaged := bytes.Clone(content)
		for range 1 + random.IntN(8) {
			at := random.IntN(len(content)/4096)*4096 + random.IntN(64)
			if round%2 == 0 {
				at = random.IntN(len(content))
			}
			damaged[at] = byte(random.Uint32())
		}
		o.try(t, damaged, accounts, fmt.Sprint("round ", round))
	}
	t.Logf("%+v", o)
	assert.Greater(t, o.refused, 100)
	assert.Zero(t, o.unavailable, "damage that Open has missed")
}

// FuzzDamage overwrites a part of a file. The file must be refused, or every read must return
// the right result or ErrUnavailable.
func FuzzDamage(f *testing.F) {
	const accounts = 20
	content := filled(f, accounts)
	f.Add(uint32(0), []byte{0})
	f.Add(uint32(4096+24), []byte("\xff\xff\xff\xff"))
	f.Add(uint32(3*4096), []byte("\x03\x00\x00\x00\x00\x00\x00\x00\x02\x00"))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		damaged := bytes.Clone(content)
		copy(damaged[int(at)%len(damaged):], patch)
		var o outcomes
		o.try(t, damaged, accounts, fmt.Sprintf("%x at %d", patch, at))
	})
}
