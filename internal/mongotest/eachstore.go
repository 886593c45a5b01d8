package mongotest

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// EachStore runs a test or a benchmark over every backend there is. Each backend is
// empty, and closed at the end.
func EachStore[T interface {
	testing.TB
	Run(name string, run func(T)) bool
}](t T, run func(t T, backend store.Backend)) {
	t.Run("memstore", func(t T) { run(t, memstore.New()) })
	t.Run("boltstore", func(t T) {
		backend, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = backend.Close() })
		run(t, backend)
	})
	t.Run("mongostore", func(t T) {
		backend, err := mongostore.Open(t.Context(), URI(t), mongostore.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { _ = backend.Close() })
		run(t, backend)
	})
}
