package boltstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// BenchmarkFindByID reads one of 1,000 accounts that have a session each: from memory, from the
// file, and with a cache that is too small, so that each read drops another account.
func BenchmarkFindByID(b *testing.B) {
	for _, mode := range []struct {
		name       string
		cacheBytes int64
	}{{"memory", 0}, {"file", -1}, {"small_cache", 100 << 10}} {
		b.Run(mode.name, func(b *testing.B) {
			backend, ids := benchStore(b, 1000, mode.cacheBytes)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if _, err := backend.FindByID(context.Background(), ids[i%len(ids)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}

// BenchmarkFindByIDMissing looks for an account that does not exist.
func BenchmarkFindByIDMissing(b *testing.B) {
	backend, _ := benchStore(b, 1000, 0)
	id := store.NewID()
	for b.Loop() {
		if _, err := backend.FindByID(context.Background(), id); err != store.ErrNotFound {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdate runs with one writer and with 16.
func BenchmarkUpdate(b *testing.B) {
	change := func(a *store.Account) error {
		a.Sessions[0].Generation++
		return nil
	}
	b.Run("one", func(b *testing.B) {
		backend, ids := benchStore(b, 1000, 0)
		for b.Loop() {
			if err := backend.Update(context.Background(), ids[0], change); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("many", func(b *testing.B) {
		backend, ids := benchStore(b, 1000, 0)
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if err := backend.Update(context.Background(), ids[i%len(ids)], change); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkOpen opens a file of 100,000 accounts with a session and a small record each. It
// also measures the upgrades of such a file, once each.
func BenchmarkOpen(b *testing.B) {
	const accounts = 100_000
	path := filepath.Join(b.TempDir(), "bench.db")
	for from, write := range []func(testing.TB, string, int){1: writeFormat1, 2: writeFormat2} {
		if write == nil {
			continue
		}
		_ = os.Remove(path)
		write(b, path, accounts)
		begun := time.Now()
		backend, err := boltstore.Open(path, boltstore.Config{})
		require.NoError(b, err)
		require.NoError(b, backend.Close())
		b.Logf("the upgrade from format %d took %s", from, time.Since(begun).Round(time.Millisecond))
	}
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.Logf("%d bytes", info.Size())
	for _, background := range []bool{false, true} {
		b.Run(fmt.Sprint("background=", background), func(b *testing.B) {
			for b.Loop() {
				backend, err := boltstore.Open(path, boltstore.Config{CheckInBackground: background})
				require.NoError(b, err)
				require.NoError(b, backend.Close())
			}
		})
	}
}

func benchStore(b *testing.B, accounts int, cacheBytes int64) (*boltstore.Store, []store.ID) {
	b.Helper()
	backend, err := boltstore.Open(filepath.Join(b.TempDir(), "bench.db"), boltstore.Config{CacheBytes: cacheBytes})
	require.NoError(b, err)
	b.Cleanup(func() { _ = backend.Close() })
	now := time.Now().UTC().Truncate(time.Millisecond)
	ids := make([]store.ID, accounts)
	for i := range ids {
		ids[i] = store.NewID()
		name := fmt.Sprintf("account-%d", i)
		require.NoError(b, backend.Create(b.Context(), &store.Account{
			ID: ids[i], Name: name, Email: name + "@example.org", EmailKey: name + "@example.org",
			PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
			Groups:       []string{"editors"}, Created: now, Modified: now, LastAction: now,
			Sessions: []store.Session{{ID: "AAECAwQFBgcICQoLDA0ODw", ClientID: "app", Generation: 1, Created: now, Rotated: now, Expires: now}},
		}))
	}
	return backend, ids
}

// BenchmarkList reads a page of 100 of 1,000 accounts.
func BenchmarkList(b *testing.B) {
	backend, _ := benchStore(b, 1000, 0)
	for name, list := range map[string]store.List{
		"id":    {Limit: 100},
		"name":  {By: store.ListByName, Match: "account-", Limit: 100},
		"group": {By: store.ListByGroup, Match: "editors", Limit: 100},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if page, err := backend.List(context.Background(), list); err != nil || len(page) != 100 {
					b.Fatal(len(page), err)
				}
			}
		})
	}
}
