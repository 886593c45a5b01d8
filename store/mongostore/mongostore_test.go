package mongostore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
	"github.com/oauthsv/oauthsv/store/storetest"
)

func open(t testing.TB, uri string) *mongostore.Store {
	t.Helper()
	backend, err := mongostore.Open(t.Context(), uri, mongostore.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	return backend
}

func TestBackend(t *testing.T) {
	t.Parallel()
	storetest.Test(t, func(t *testing.T) store.Backend { return open(t, mongotest.URI(t)) })
}

// TestExample runs the example, which needs a server and so has no output to check.
func TestExample(t *testing.T) {
	uri := mongotest.URI(t)
	t.Setenv("MONGODB_URI", uri)
	Example()
	_, err := open(t, uri).FindByName(t.Context(), "ada")
	require.NoError(t, err)
}
