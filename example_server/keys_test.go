package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestKeysAddMakesTheFile: an operator makes the key before the first start, to
// copy it to every process.
func TestKeysAddMakesTheFile(t *testing.T) {
	directory := t.TempDir()
	added := strings.Fields(keysCommand(t, directory, "-alg", "EdDSA", "add"))
	require.Len(t, added, 4)
	id := strings.Trim(added[3], `"`)
	assert.Equal(t, id+" EdDSA active\n", keysCommand(t, directory, "list"))
	p := start(t, directory, "-store", "memory:")
	assert.NotContains(t, p.stderr.String(), "made a new signing key")
	_, body := p.get("/.well-known/jwks.json", "")
	assert.Contains(t, body, id)
}

// TestExposedKeyFileIsWarnedOf: who can read the key file can sign tokens.
func TestExposedKeyFileIsWarnedOf(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no mode there")
	}
	directory := t.TempDir()
	path := filepath.Join(directory, "oauthsv.key")
	p := start(t, directory, "-store", "memory:")
	p.reload()
	assert.NotContains(t, p.stderr.String(), "others can read")
	assert.NotContains(t, keysCommand(t, directory, "list"), "others can read")

	require.NoError(t, os.Chmod(path, 0o644))
	p.reload()
	p.assertLogs("chmod g-w,o-rwx")
	assert.Equal(t, 1, strings.Count(p.stderr.String(), "level=WARN msg=\"others can read"), p.stderr.String())
	output := keysCommand(t, directory, "list")
	assert.Contains(t, output, "others can read")
	assert.Contains(t, output, "-rw-r--r--")
	keysCommand(t, directory, "add")
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode(), "the mode is the operator's to change")
}

// TestKeysCommandKeepsTheAlgorithm: an operator who rotates a public key without -alg
// does not end the verification by other services.
func TestKeysCommandKeepsTheAlgorithm(t *testing.T) {
	directory := t.TempDir()
	assert.Contains(t, keysCommand(t, directory, "add"), "added HS512 key")
	eddsa := strings.Fields(keysCommand(t, directory, "-alg", "EdDSA", "add"))[3]
	keysCommand(t, directory, "activate", strings.Trim(eddsa, `"`))
	assert.Contains(t, keysCommand(t, directory, "add"), "added EdDSA key")
	hs512 := strings.Fields(keysCommand(t, directory, "-alg", "HS512", "add"))[3]
	assert.Contains(t, keysCommand(t, directory, "activate", strings.Trim(hs512, `"`)), "services that fetch the public keys")
}

// TestKeysCommandSaysWhichCommandsThereAre: no operator has to guess.
func TestKeysCommandSaysWhichCommandsThereAre(t *testing.T) {
	for _, test := range []struct {
		arguments []string
		says      string
	}{
		{nil, "a command is missing"}, {[]string{"turn"}, `unknown command "turn"`}, {[]string{"turn", "x"}, `unknown command "turn"`},
		{[]string{"activate"}, "activate"}, {[]string{"list", "x"}, "list"},
	} {
		output, err := command(t.TempDir(), nil, append([]string{"keys"}, test.arguments...)...).CombinedOutput()
		require.Error(t, err)
		assert.Contains(t, string(output), test.says)
		assert.NotContains(t, string(output), `""`)
		for _, command := range []string{"list", "add", "activate KID", "retire KID"} {
			assert.Contains(t, string(output), command)
		}
	}
}
