package tokens

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFailedReplacementIsAnError, and leaves no file behind. The test calls an unexported
// function, because a KeyFile looks at what is at its path before it replaces it.
func TestFailedReplacementIsAnError(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "test.key")
	require.NoError(t, os.Mkdir(path, 0o700)) // somebody has made it meanwhile
	err := replaceFile(path, nil, []byte("keys"))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), path+".")
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "no temporary file remains")
}
