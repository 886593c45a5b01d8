package clienttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// TestStrictClients: oauth4webapi and jose, which refuse what others overlook,
// find nothing to refuse.
func TestStrictClients(t *testing.T) {
	modules := os.Getenv("OAUTHSV_TEST_NODE_MODULES")
	if modules == "" {
		const howTo = "to run this test, install the npm packages oauth4webapi and jose and set OAUTHSV_TEST_NODE_MODULES to the folder node_modules"
		if os.Getenv("CI") != "" {
			t.Fatal(howTo)
		}
		t.Skip(howTo)
	}
	directory := t.TempDir()
	key, err := tokens.GenerateKey(tokens.EdDSA)
	require.NoError(t, err)
	text, err := key.PrivateJWK()
	require.NoError(t, err)
	keyFile := filepath.Join(directory, "test.key")
	require.NoError(t, os.WriteFile(keyFile, text, 0o600))
	location := startServer(t, "-key-file", keyFile)

	// Node finds packages beside the script alone.
	script, err := os.ReadFile("strict_clients.mjs")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(directory, "strict_clients.mjs"), script, 0o600))
	require.NoError(t, os.Symlink(modules, filepath.Join(directory, "node_modules")))
	command := exec.Command("node", "strict_clients.mjs", location, rootPassword)
	command.Dir = directory
	output, err := command.CombinedOutput()
	require.NoError(t, err, string(output))
	assert.Contains(t, string(output), "the strict clients are content")
}
