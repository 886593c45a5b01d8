package boltstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

func init() {
	children["upgrade"] = func(path string) error {
		backend, err := boltstore.Open(path, boltstore.Config{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		return backend.Close()
	}
}

// writeFormat1 makes a file in format 1, with what fill writes.
func writeFormat1(t testing.TB, path string, accounts int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
		buckets := make(map[string]*bbolt.Bucket)
		for _, name := range []string{"meta", "accounts", "names", "emails", "records", "expiries"} {
			bucket, err := tx.CreateBucket([]byte(name))
			require.NoError(t, err)
			buckets[name] = bucket
		}
		put := func(bucket string, key, value []byte) { require.NoError(t, buckets[bucket].Put(key, value)) }
		put("meta", []byte("format"), []byte("1"))
		for i := range accounts {
			a := account(i)
			text, err := bson.Marshal(a)
			require.NoError(t, err)
			put("accounts", a.ID[:], text)
			put("names", []byte(a.Name), a.ID[:])
			put("emails", []byte(a.EmailKey), a.ID[:])
			key := fmt.Sprint("record-", i)
			expiry := binary.BigEndian.AppendUint64(nil, uint64(epoch.Add(time.Hour+time.Duration(i)*time.Second).UnixMilli()))
			put("records", []byte(key), append(bytes.Clone(expiry), fmt.Append(nil, "value ", i)...))
			put("expiries", append(bytes.Clone(expiry), key...), nil)
		}
		return nil
	}))
	require.NoError(t, db.Close())
}

// assertWhole opens a file and checks that it holds what fill writes.
func assertWhole(t *testing.T, path string, accounts int) {
	t.Helper()
	backend := open(t, path)
	for _, read := range []func(store.Backend, int) (int, error){answers, lists} {
		unavailable, wrong := read(backend, accounts)
		assert.NoError(t, wrong)
		assert.Zero(t, unavailable)
	}
	require.NoError(t, backend.Close())
}

// meta returns what a file says about its format.
func meta(t *testing.T, path string) (format int, upgrading bool) {
	t.Helper()
	edit(t, path, func(tx *bbolt.Tx) error {
		var err error
		format, err = strconv.Atoi(string(tx.Bucket([]byte("meta")).Get([]byte("format"))))
		upgrading = tx.Bucket([]byte("meta")).Get([]byte("upgrade")) != nil
		return err
	})
	return format, upgrading
}

func TestFormat1IsUpgraded(t *testing.T) {
	for _, accounts := range []int{0, 1, 2000, 2001} { // below and above the size of one transaction
		path := filepath.Join(t.TempDir(), "test.db")
		writeFormat1(t, path, accounts)
		assertWhole(t, path, accounts)
		format, upgrading := meta(t, path)
		assert.Equal(t, 3, format, "an older program refuses the file")
		assert.False(t, upgrading)
		before := transaction(t, path)
		assertWhole(t, path, accounts)
		assert.Equal(t, before, transaction(t, path), "upgraded once")
	}
}

// killUpgrade has a child upgrade a file, and kills it with SIGKILL when it has written so many
// transactions. Each is one step.
func killUpgrade(t *testing.T, path string, transactions int) {
	t.Helper()
	before := transaction(t, path)
	command := child(t, "upgrade", path)
	require.NoError(t, command.Start())
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	for over := false; !over && transaction(t, path) < before+uint64(transactions); {
		select {
		case <-ended:
			over = true
		default:
		}
	}
	_ = command.Process.Kill()
	<-ended
}

// TestUpgradeGoesOnAfterKill kills the upgrade with SIGKILL in the middle, at another table each
// time. Then only parts of the file have checksums, and an older program refuses it.
func TestUpgradeGoesOnAfterKill(t *testing.T) {
	const accounts, kills = 4001, 3
	original := filepath.Join(t.TempDir(), "original.db")
	writeFormat1(t, original, accounts)
	content, err := os.ReadFile(original)
	require.NoError(t, err)
	interrupted := 0
	for try := 0; interrupted < kills; try++ {
		require.Less(t, try, 20, "no kill came in the middle")
		path := filepath.Join(t.TempDir(), "test.db")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		killUpgrade(t, path, 2+try*5%15)
		format, upgrading := meta(t, path)
		require.Equal(t, 3, format)
		if upgrading {
			interrupted++
		}
		assertWhole(t, path, accounts)
		_, upgrading = meta(t, path)
		assert.False(t, upgrading)
	}
}

// TestUpgradeRefusesDamage checks that an upgrade gives no checksum to a damaged record.
func TestUpgradeRefusesDamage(t *testing.T) {
	for name, change := range map[string]func(tx *bbolt.Tx) error{
		"record cut": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("accounts"))
			key, value := b.Cursor().First()
			return b.Put(bytes.Clone(key), bytes.Clone(value[:len(value)-4]))
		},
		"another id": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("accounts"))
			_, value := b.Cursor().First()
			last, _ := b.Cursor().Last()
			return b.Put(bytes.Clone(last), bytes.Clone(value))
		},
		"index leads elsewhere": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("names"))
			key, _ := b.Cursor().First()
			_, other := b.Cursor().Last()
			return b.Put(bytes.Clone(key), bytes.Clone(other))
		},
		"expiry of another time": func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("expiries"))
			key, _ := b.Cursor().First()
			key = bytes.Clone(key)
			other := bytes.Clone(key)
			other[7] ^= 1
			return errors.Join(b.Delete(key), b.Put(other, nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.db")
			writeFormat1(t, path, 100)
			edit(t, path, change)
			_, err := boltstore.Open(path, boltstore.Config{})
			require.ErrorIs(t, err, boltstore.ErrDamaged)
			format, _ := meta(t, path)
			assert.Equal(t, 1, format)
		})
	}
}

// TestUnknownMembersSurvive checks that members from a newer version are written back.
func TestUnknownMembersSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	newer := account(1)
	newer.Unknown = map[string]any{"passkeys": bson.A{"one", "two"}, "level": int32(3), "key": primitive.Binary{Data: []byte("bytes")}}
	newer.Sessions[0].Unknown = map[string]any{"device": map[string]any{"kind": "phone"}}
	backend := open(t, path)
	require.NoError(t, backend.Create(t.Context(), newer))
	require.NoError(t, backend.Close())
	backend = open(t, path)
	require.NoError(t, backend.Update(t.Context(), newer.ID, func(a *store.Account) error {
		a.Disabled = true
		a.Sessions[0].Generation++
		return nil
	}))
	require.NoError(t, backend.Close())
	newer.Disabled = true
	newer.Sessions[0].Generation++
	found, err := open(t, path).FindByID(t.Context(), newer.ID)
	require.NoError(t, err)
	assert.Equal(t, newer, found)
}
