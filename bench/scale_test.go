package bench

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/tokens"
)

// manyAccounts is how many accounts "many" are: OAUTHSV_BENCH_ACCOUNTS, else few
// enough for a quick run.
func manyAccounts() int {
	if n, err := strconv.Atoi(os.Getenv("OAUTHSV_BENCH_ACCOUNTS")); err == nil && n > 0 {
		return n
	}
	return 1000
}

// fill makes accounts with a session each.
func fill(tb testing.TB, backend store.Backend, n int) []store.SessionRef {
	tb.Helper()
	refs := make([]store.SessionRef, n)
	now := time.Now().UTC().Truncate(time.Millisecond)
	var all sync.WaitGroup
	const writers = 256
	for writer := range writers {
		all.Go(func() {
			for i := writer; i < n; i += writers {
				name := "account" + strconv.Itoa(i)
				session := store.Session{
					ID: "AAECAwQFBgcICQoLDA0ODw", ClientID: "app", Generation: 1, Created: now, Rotated: now, Expires: now.Add(1000 * time.Hour).Truncate(time.Second),
				}
				account := &store.Account{
					ID: store.NewID(), Name: name, Email: name + "@example.org", EmailKey: name + "@example.org",
					PasswordHash: "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2E$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
					Groups:       []string{"editors"}, Created: now, Modified: now, LastAction: now, Sessions: []store.Session{session},
				}
				if err := backend.Create(context.Background(), account); err != nil {
					tb.Error(err)
					return
				}
				refs[i] = store.SessionRef{AccountID: account.ID, SessionID: session.ID, Generation: 1}
			}
		})
	}
	all.Wait()
	return refs
}

// known is a verifier that knows every token: what is measured is the look-up.
type known struct{ refs []store.SessionRef }

func (k *known) Verify(context.Context, string) (tokens.AccessToken, error) {
	ref := k.refs[rand.IntN(len(k.refs))]
	return tokens.AccessToken{Claims: tokens.Claims{Subject: ref.AccountID.Hex(), SessionID: ref.SessionID, Generation: 1}}, nil
}

// BenchmarkAccounts is a request whose account is one of one, or of many, picked at
// random, by as many callers as there are cores.
func BenchmarkAccounts(b *testing.B) {
	run := func(b *testing.B, backend store.Backend, cacheTTL time.Duration, refs []store.SessionRef) {
		accounts, err := store.NewAccounts(store.Config{Backend: backend, Passwords: clear{}, CacheTTL: cacheTTL, CacheSize: 2_000_000})
		require.NoError(b, err)
		auth, err := middleware.New(middleware.Config{Verifier: &known{refs}, Accounts: accounts})
		require.NoError(b, err)
		handler := auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			r, err := http.NewRequest("GET", "/", nil)
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer x")
			w := &recorder{header: make(http.Header), status: http.StatusOK}
			for pb.Next() {
				handler.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Errorf("status %d", w.status)
					return
				}
			}
		})
	}
	n := manyAccounts()
	both := func(b *testing.B, backend store.Backend, cacheTTL time.Duration, refs []store.SessionRef) {
		b.Run("one", func(b *testing.B) { run(b, backend, cacheTTL, refs[:1]) })
		b.Run(strconv.Itoa(n), func(b *testing.B) { run(b, backend, cacheTTL, refs) })
	}
	b.Run("memstore", func(b *testing.B) {
		before := heap()
		backend := memstore.New()
		refs := fill(b, backend, n)
		b.Logf("%d bytes of memory an account", (heap()-before)/uint64(n))
		both(b, backend, 0, refs)
		b.Run("cache", func(b *testing.B) { both(b, backend, time.Hour, refs) })
	})
	b.Run("boltstore", func(b *testing.B) {
		path := b.TempDir() + "/bench.db"
		backend, err := boltstore.Open(path, boltstore.Config{})
		require.NoError(b, err)
		defer func() { backend.Close() }()
		refs := fill(b, backend, n)
		// As after a restart: the check at the start has touched every page.
		require.NoError(b, backend.Close())
		backend, err = boltstore.Open(path, boltstore.Config{})
		require.NoError(b, err)
		info, err := os.Stat(path)
		require.NoError(b, err)
		b.Logf("%d bytes of file an account", info.Size()/int64(n))
		both(b, backend, 0, refs)
	})
}

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkCachedToken tells what a verified token takes in the cache.
func BenchmarkCachedToken(b *testing.B) {
	const count = 5000
	_, _, keys, _ := issue(b, tokens.HS512)
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{Keys: keys, Issuer: issuerURL})
	require.NoError(b, err)
	compact := make([]string, count)
	for i := range compact {
		compact[i], err = issuer.SignAccess(tokens.Claims{
			Subject: subject, ClientID: "app", SessionID: "AAECAwQFBgcICQoLDA0ODw", Generation: 1, Expiry: time.Now().Add(time.Hour),
		})
		require.NoError(b, err)
	}
	for b.Loop() {
		before := heap()
		verifier, err := tokens.NewVerifier(tokens.VerifierConfig{Keys: keys, Issuer: issuerURL})
		require.NoError(b, err)
		for _, token := range compact {
			_, err := verifier.Verify(b.Context(), token)
			require.NoError(b, err)
		}
		b.ReportMetric(float64(heap()-before)/count, "bytes/token")
		runtime.KeepAlive(verifier)
	}
}

// BenchmarkBoltWrites compares a lone writer, and many, with bbolt's own Update.
func BenchmarkBoltWrites(b *testing.B) {
	b.Run("bbolt.Update_1_caller", func(b *testing.B) {
		// The same record in the same file, without anything around it.
		path := b.TempDir() + "/bench.db"
		backend, err := boltstore.Open(path, boltstore.Config{})
		require.NoError(b, err)
		key := fill(b, backend, 1)[0].AccountID
		require.NoError(b, backend.Close())
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoStatistics: true, FreelistType: bbolt.FreelistMapType})
		require.NoError(b, err)
		defer db.Close()
		for b.Loop() {
			err := db.Update(func(tx *bbolt.Tx) error {
				accounts := tx.Bucket([]byte("accounts"))
				return accounts.Put(key[:], slices.Clone(accounts.Get(key[:])))
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	})
	for _, callers := range []int{1, 8, 64} {
		b.Run("boltstore_"+strconv.Itoa(callers)+"_callers", func(b *testing.B) {
			backend, err := boltstore.Open(b.TempDir()+"/bench.db", boltstore.Config{})
			require.NoError(b, err)
			defer backend.Close()
			refs := fill(b, backend, callers)
			work := make(chan int, callers)
			for i := range callers {
				work <- i
			}
			write := func() {
				i := <-work
				err := backend.Update(context.Background(), refs[i].AccountID, func(a *store.Account) error {
					a.Sessions[0].Generation++
					return nil
				})
				if err != nil {
					b.Error(err)
				}
				work <- i
			}
			concurrently(b, callers, write)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// concurrently calls work from as many goroutines at once as there are callers, or
// some more where the cores do not divide them; a lone caller is not disturbed.
func concurrently(b *testing.B, callers int, work func()) {
	if callers == 1 {
		for b.Loop() {
			work()
		}
		return
	}
	b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			work()
		}
	})
}
