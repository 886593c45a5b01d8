package boltstore_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.mongodb.org/mongo-driver/bson"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// The program of format 2 itself made the files in testdata. format2.db has 300 accounts and
// their records. format2-interrupted.db has 2,100, without sessions: SIGKILL ended their
// upgrade from format 1 when all accounts and a part of the names had checksums.

// format2 makes a file of testdata, and returns its path.
func format2(t testing.TB, name string) string {
	t.Helper()
	packed, err := os.Open(filepath.Join("testdata", name+".gz"))
	require.NoError(t, err)
	defer packed.Close()
	unpacked, err := gzip.NewReader(packed)
	require.NoError(t, err)
	content, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}

// format2Account returns an account of these files.
func format2Account(i int) *store.Account {
	made := account(i)
	made.Groups = [][]string{
		{}, {"admin", "editors"},
		{"editors", "admin", "editors"}, // as a program without package store may write it
		nil, {"editor"},
	}[i%5]
	return made
}

// assertUpgraded checks that a file of the current format holds the accounts of a file of
// testdata, in all indexes.
func assertUpgraded(t *testing.T, path string, accounts int, prepare func(*store.Account)) {
	t.Helper()
	backend := open(t, path)
	members := map[string][]*store.Account{}
	for i := range accounts {
		want := format2Account(i)
		prepare(want)
		got, err := backend.FindByName(bg, want.Name)
		require.NoError(t, err)
		require.Equal(t, want, got)
		for _, group := range slices.Compact(slices.Sorted(slices.Values(want.Groups))) {
			members[group] = append(members[group], want)
		}
		record, err := getRecord(backend, i)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint("value ", i), string(record.Value))
	}
	require.Len(t, members, 3)
	for group, want := range members {
		require.Equal(t, want, everyone(t, backend, store.List{By: store.ListByGroup, Match: group}))
	}
	for by := store.ListByID; by <= store.ListByEmail; by++ {
		require.Len(t, everyone(t, backend, store.List{By: by}), accounts)
	}
	require.NoError(t, backend.Close())
	format, upgrading := meta(t, path)
	assert.Equal(t, 3, format, "an older program refuses the file")
	assert.False(t, upgrading)
	before := transaction(t, path)
	backend = open(t, path) // which checks that the indexes agree
	require.NoError(t, backend.Close())
	assert.Equal(t, before, transaction(t, path), "upgraded once")
}

func asIs(*store.Account) {}

func withoutSessions(a *store.Account) { a.Sessions = []store.Session{} }

func TestFormat2IsUpgraded(t *testing.T) {
	path := format2(t, "format2.db")
	format, upgrading := meta(t, path)
	require.Equal(t, 2, format)
	require.False(t, upgrading)
	assertUpgraded(t, path, 300, asIs)

	// The index is kept up to date from now on.
	backend := open(t, path)
	second := format2Account(2)
	require.NoError(t, backend.Update(bg, second.ID, func(a *store.Account) error {
		a.Groups = []string{"editors"}
		return nil
	}))
	require.NoError(t, backend.Update(bg, format2Account(7).ID, func(a *store.Account) error {
		a.Groups = []string{"admin", "editors"} // the same groups, each once
		return nil
	}))
	require.NoError(t, backend.Delete(bg, format2Account(12).ID))
	require.Len(t, everyone(t, backend, store.List{By: store.ListByGroup, Match: "admin"}), 118)
	require.Len(t, everyone(t, backend, store.List{By: store.ListByGroup, Match: "editors"}), 119)
	require.NoError(t, backend.Close())
	open(t, path)
}

// TestInterruptedFormat2IsUpgraded checks a file that is in the middle of the upgrade to format
// 2, by a program of that time. Its upgrade goes on where it was.
func TestInterruptedFormat2IsUpgraded(t *testing.T) {
	path := format2(t, "format2-interrupted.db")
	format, upgrading := meta(t, path)
	require.Equal(t, 2, format)
	require.True(t, upgrading)
	assertUpgraded(t, path, 2100, withoutSessions)
}

// TestFormat2UpgradeRefusesDamage checks that damage is found before anything is written.
func TestFormat2UpgradeRefusesDamage(t *testing.T) {
	remove := func(bucket string) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error {
			key, _ := tx.Bucket([]byte(bucket)).Cursor().First()
			return tx.Bucket([]byte(bucket)).Delete(key)
		}
	}
	set := func(key, value string) func(tx *bbolt.Tx) error {
		return func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte(key), []byte(value)) }
	}
	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"account gone":                     remove("accounts"),
		"name gone":                        remove("names"),
		"expiry gone":                      remove("expiries"),
		"emails gone":                      func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("emails")) },
		"format 3":                         set("format", "3"),
		"format 1":                         set("format", "1"),
		"a later step":                     set("upgrade", "\x05"),
		"a later step, with the right sum": upgradeAt("2", 5),
		"an empty step":                    set("upgrade", ""),
		"a step of old":                    set("upgrade", "\x00"),
		"another sum":                      set("sum", "\x00\x00\x00\x00"),
		"entry of later": func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("groups"))
			return errors.Join(err, b.Put([]byte("g\x00123456789012"), sealed("groups", []byte("g\x00123456789012"), nil)))
		},
	} {
		for _, file := range []string{"format2.db", "format2-interrupted.db"} {
			t.Run(name+" "+file, func(t *testing.T) {
				path := format2(t, file)
				edit(t, path, change)
				before := transaction(t, path)
				_, err := boltstore.Open(path, boltstore.Config{CheckInBackground: true})
				require.ErrorIs(t, err, boltstore.ErrDamaged)
				assert.Equal(t, before, transaction(t, path))
			})
		}
	}
}

// TestFormat2WithLongGroup checks a group that is too long for the index. A program of format 2
// took it.
func TestFormat2WithLongGroup(t *testing.T) {
	long := string(bytes.Repeat([]byte("g"), 40<<10))
	path := format2(t, "format2.db")
	want := format2Account(1)
	want.Groups = []string{"admin", long}
	edit(t, path, func(tx *bbolt.Tx) error {
		text, err := bson.Marshal(want)
		require.NoError(t, err)
		return tx.Bucket([]byte("accounts")).Put(want.ID[:], sealed("accounts", want.ID[:], text))
	})
	backend := open(t, path)
	got, err := backend.FindByID(bg, want.ID)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Len(t, everyone(t, backend, store.List{By: store.ListByGroup, Match: "editors"}), 119)
	require.NoError(t, backend.Update(bg, want.ID, func(a *store.Account) error {
		a.Disabled = true
		return nil
	}))
	require.Empty(t, everyone(t, backend, store.List{By: store.ListByGroup, Match: long}))
	require.NoError(t, backend.Close())
	backend = open(t, path)
	require.NoError(t, backend.Update(bg, want.ID, func(a *store.Account) error {
		a.Groups = []string{"editors"}
		return nil
	}))
	require.NoError(t, backend.Close())
	open(t, path)
}

// TestFlippedBitStopsUpgrade flips one bit at a time of a file of format 2. The file must be
// refused, or upgraded with everything in it.
//
// OAUTHSV_TEST_UPGRADE_FLIPS is how many bits it flips, 20 by default.
func TestFlippedBitStopsUpgrade(t *testing.T) {
	path := format2(t, "format2.db")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	random := rand.New(rand.NewPCG(9, 10))
	refused := 0
	for range number(t, "OAUTHSV_TEST_UPGRADE_FLIPS", 20) {
		at, bit := random.IntN(len(content)), random.IntN(8)
		content[at] ^= 1 << bit
		require.NoError(t, os.WriteFile(path, content, 0o600))
		content[at] ^= 1 << bit
		backend, err := boltstore.Open(path, boltstore.Config{})
		if err != nil {
			assert.ErrorIs(t, err, boltstore.ErrDamaged, "bit %d of byte %d", bit, at)
			refused++
			continue
		}
		require.NoError(t, backend.Close())
		assertUpgraded(t, path, 300, asIs)
	}
	assert.Positive(t, refused)
}

// sealed returns a value with its checksum, as the package writes it.
func sealed(bucket string, key, value []byte) []byte {
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Checksum(slices.Concat([]byte(bucket), key, value), castagnoli) ^ uint32(len(key))*0x9E3779B1
	return binary.LittleEndian.AppendUint32(bytes.Clone(value), sum)
}

// writeFormat2 makes a file in format 2, with what fill writes.
func writeFormat2(t testing.TB, path string, accounts int) {
	t.Helper()
	writeFormat1(t, path, accounts)
	edit(t, path, func(tx *bbolt.Tx) error {
		for _, name := range []string{"accounts", "names", "emails", "records", "expiries"} {
			cursor := tx.Bucket([]byte(name)).Cursor()
			var keys, values [][]byte
			for key, value := cursor.First(); key != nil; key, value = cursor.Next() {
				keys, values = append(keys, bytes.Clone(key)), append(values, sealed(name, key, value))
			}
			for i, key := range keys {
				require.NoError(t, tx.Bucket([]byte(name)).Put(key, values[i]))
			}
		}
		meta := tx.Bucket([]byte("meta"))
		return errors.Join(meta.Put([]byte("format"), []byte("2")), meta.Put([]byte("sum"), sealed("meta", []byte("2"), nil)))
	})
}

// stage returns the step of the upgrade that a file is in, or -1.
func stage(t *testing.T, path string) (step int, last []byte) {
	t.Helper()
	step = -1
	edit(t, path, func(tx *bbolt.Tx) error {
		if marker := tx.Bucket([]byte("meta")).Get([]byte("upgrade")); marker != nil {
			step, last = int(marker[0]), bytes.Clone(marker[1:])
		}
		format, err := strconv.Atoi(string(tx.Bucket([]byte("meta")).Get([]byte("format"))))
		require.Equal(t, 3, format)
		return err
	})
	return step, last
}

// TestGroupsUpgradeGoesOnAfterKill kills the upgrade with SIGKILL while it builds the index of
// groups. Then the index has some of the accounts.
func TestGroupsUpgradeGoesOnAfterKill(t *testing.T) {
	const accounts, kills = 4001, 2
	original := filepath.Join(t.TempDir(), "original.db")
	writeFormat2(t, original, accounts)
	content, err := os.ReadFile(original)
	require.NoError(t, err)
	interrupted := 0
	for try := 0; interrupted < kills; try++ {
		require.Less(t, try, 20, "no kill came in the middle")
		path := filepath.Join(t.TempDir(), "test.db")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		killUpgrade(t, path, 2+try%3)
		if step, last := stage(t, path); step == 5 && len(last) > 0 {
			interrupted++
			assertIndexMustAgree(t, path, last)
		}
		assertWhole(t, path, accounts)
		step, _ := stage(t, path)
		assert.Equal(t, -1, step)
	}
}

// assertIndexMustAgree checks that a file in the middle of the groups step is refused if the
// index lacks an account that the step has done, or has one that it has not.
func assertIndexMustAgree(t *testing.T, path string, last []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, change := range map[string]func(index *bbolt.Bucket) error{
		"lacks one": func(index *bbolt.Bucket) error {
			key, _ := index.Cursor().Last()
			require.Equal(t, last, key[len(key)-12:], "the index has the accounts up to the marker")
			return index.Delete(key)
		},
		"has another": func(index *bbolt.Bucket) error {
			key, _ := index.Cursor().Last()
			next := bytes.Clone(key)
			next[len(next)-1]++
			return index.Put(next, sealed("groups", next, nil))
		},
	} {
		damaged := filepath.Join(t.TempDir(), "damaged.db")
		require.NoError(t, os.WriteFile(damaged, content, 0o600))
		edit(t, damaged, func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("groups"))) })
		_, err := boltstore.Open(damaged, boltstore.Config{})
		require.ErrorIs(t, err, boltstore.ErrDamaged, name)
	}
}
