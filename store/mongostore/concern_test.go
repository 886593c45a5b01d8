package mongostore_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// withOption adds an option to a connection string.
func withOption(uri, option string) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
	}
	if option == "" {
		return uri
	}
	return uri + separator + option
}

// TestWeakWriteConcerns checks that a write concern without durability logs a warning, and
// that one without acknowledgement is refused.
func TestWeakWriteConcerns(t *testing.T) {
	uri := mongotest.URI(t)
	for query, warning := range map[string]string{
		"":                   "",
		"w=majority":         "",
		"journal=true":       "",
		"w=1":                "failover",
		"journal=false":      "crash",
		"w=majority&j=false": "crash",
		"w=1&journal=true":   "failover",
	} {
		var log bytes.Buffer
		backend, err := mongostore.Open(t.Context(), withOption(uri, query), mongostore.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err, query)
		require.NoError(t, backend.Close())
		warnings := strings.Count(log.String(), "level=WARN")
		if warning == "" {
			assert.Zero(t, warnings, query)
			continue
		}
		assert.Equal(t, 1, warnings, query)
		assert.Contains(t, log.String(), warning, query)
	}
	journal := false
	var log bytes.Buffer
	_, err := mongostore.New(t.Context(), connect(t, uri, options.Database().SetWriteConcern(&writeconcern.WriteConcern{Journal: &journal})),
		mongostore.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	assert.Contains(t, log.String(), "crash")
	_, err = mongostore.Open(t.Context(), withOption(uri, "w=0"), mongostore.Config{})
	assert.ErrorContains(t, err, "w=0")
}
