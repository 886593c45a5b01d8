package bench

import (
	"log/slog"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// BenchmarkSessions is what a protected request asks of the store, for an account with a few
// live sessions and with many.
func BenchmarkSessions(b *testing.B) {
	backends := []struct {
		name string
		open func(b *testing.B) store.Backend
	}{
		{"memstore", func(*testing.B) store.Backend { return memstore.New() }},
		{"boltstore", func(b *testing.B) store.Backend {
			backend, err := boltstore.Open(b.TempDir()+"/bench.db", boltstore.Config{})
			require.NoError(b, err)
			b.Cleanup(func() { backend.Close() })
			return backend
		}},
		{"mongostore", func(b *testing.B) store.Backend {
			backend, err := mongostore.Open(b.Context(), mongotest.URI(b), mongostore.Config{Logger: slog.New(slog.DiscardHandler)})
			require.NoError(b, err)
			b.Cleanup(func() { backend.Close() })
			return backend
		}},
	}
	for _, kind := range backends {
		for _, sessions := range []int{1, 4, 32} {
			b.Run(kind.name+"/sessions="+strconv.Itoa(sessions), func(b *testing.B) {
				accounts, err := store.NewAccounts(store.Config{Backend: kind.open(b), Passwords: clear{}})
				require.NoError(b, err)
				account, err := accounts.Create(b.Context(), store.NewAccount{Name: "alice", Email: "alice@localhost", Password: rootPassword})
				require.NoError(b, err)
				var ref store.SessionRef
				for range sessions {
					state, err := accounts.StartSession(b.Context(), account, store.NewSession{ClientID: "app", Address: "192.0.2.1", UserAgent: "bench"})
					require.NoError(b, err)
					ref = store.SessionRef{AccountID: account.ID, SessionID: state.Session.ID, Generation: state.Session.Generation}
				}
				b.ReportAllocs()
				for b.Loop() {
					if _, err := accounts.FindBySession(b.Context(), ref); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
