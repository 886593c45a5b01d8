package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestHelpShowsStaticDefaults: the environment holds secrets, and help is pasted
// into issues.
func TestHelpShowsStaticDefaults(t *testing.T) {
	help := func(environment ...string) string {
		output, err := command(t.TempDir(), environment, "-help").CombinedOutput()
		require.NoError(t, err)
		return string(output)
	}
	want := help()
	assert.Contains(t, want, `(default "bolt:oauthsv.db")`)
	assert.Equal(t, want, help(
		"OAUTHSV_ADDR=127.0.0.1:1", "OAUTHSV_STORE=mongodb://user:hunter2@db.example.org/oauthsv", "OAUTHSV_ISSUER=https://user:hunter2@login.example.org",
		"OAUTHSV_AUDIENCE=hunter2", "OAUTHSV_KEY_FILE=hunter2", "OAUTHSV_ROOT_PASSWORD=hunter2",
	))
}

// TestFlagBeatsEnvironment: an empty flag does too.
func TestFlagBeatsEnvironment(t *testing.T) {
	broken := []string{
		"OAUTHSV_ADDR=127.0.0.1:99999", "OAUTHSV_STORE=redis://x", "OAUTHSV_ISSUER=broken", "OAUTHSV_AUDIENCE= ", "OAUTHSV_KEY_FILE=/no/such/directory/key",
	}
	whole := []string{
		"-addr", "127.0.0.1:0", "-store", "memory:", "-issuer", "http://localhost:1", "-audience", "api", "-key-file", "flag.key",
	}
	startCommand(t, command(t.TempDir(), broken, whole...)).login()
	startCommand(t, command(t.TempDir(), []string{"OAUTHSV_ISSUER=broken"}, "-addr", "127.0.0.1:0", "-store", "memory:", "-issuer", "")).login()

	for name, want := range map[string]string{"-addr": "-addr", "-store": "-store", "-issuer": "-issuer", "-key-file": "-key-file"} {
		var arguments []string
		for i := 0; i < len(whole); i += 2 {
			if whole[i] != name {
				arguments = append(arguments, whole[i], whole[i+1])
			}
		}
		output, err := command(t.TempDir(), broken, arguments...).CombinedOutput()
		assert.Error(t, err, "without %s the environment applies", name)
		assert.Contains(t, string(output), want)
	}
}

// TestErrorsHideUserInfo: no way to write the store's URI wrongly puts the name or
// the password of its user into the answer. Each part of them holds "hunter".
func TestErrorsHideUserInfo(t *testing.T) {
	for _, location := range []string{
		"mongodb://hunter1:hunter2@127.0.0.1:1/db?timeoutMS=200&serverSelectionTimeoutMS=200",
		"mongodb://hunter1:hunter2@127.0.0.1:99999/db",
		"mongodb://hunter1:hunter2@127.0.0.1:x/db",
		"mongodb://hunter1:hunter2@127.0.0.1:1",
		"mongodb://hunter1:hunter2@127.0.0.1:1/db?x",
		"mongodb://hunter1:hunter2@127.0.0.1:1/db?authMechanism=X",
		"mongodb://hunter1:hunter2@/db",
		"mongodb://hunter1:hunter2%zzhunter3@127.0.0.1:1/db",
		"mongodb://hunter1%zz:hunter2@127.0.0.1:1/db",
		"mongodb://hunter1:hunter2/hunter3@127.0.0.1:1/db",
		"mongodb://hunter1/hunter2:hunter3@127.0.0.1:1/db",
		"mongodb://hunter1:hunter2?hunter3@127.0.0.1:1/db",
		"mongodb://hunter1:hunter2/hunter3?hunter4@127.0.0.1:1/db",
		"mongodb://hunter1:hunter2@hunter3@127.0.0.1:1/db",
		"mongodb://hunter1:hunter2@hunter3/hunter4@127.0.0.1:1/db",
		"mongodb://hunter1:hunter2@hunter3/hunter4?hunter5@127.0.0.1:1/db",
		"mongodb://hunter1:hunter2:hunter3@127.0.0.1:1/db",
		"mongodb://hunter1:hunter2#hunter3@127.0.0.1:1/db?timeoutMS=200&serverSelectionTimeoutMS=200",
		"mongodb+srv://hunter1:hunter2/hunter3@no.invalid/db",
		"mongodb+srv://hunter1:hunter2@127.0.0.1:1/db",
		"bolt:mongodb://hunter1:hunter2@127.0.0.1:1/db",
		"bolt:/mongodb://hunter1:hunter2@127.0.0.1:1/db",
		"MONGODB://hunter1:hunter2@127.0.0.1:1/db",
		" mongodb://hunter1:hunter2@127.0.0.1:1/db",
		"redis://hunter1:hunter2@127.0.0.1:1/db",
	} {
		t.Run(location, func(t *testing.T) {
			t.Parallel()
			command := command(t.TempDir(), []string{"OAUTHSV_STORE=" + location}, "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1")
			var output bytes.Buffer
			command.Stdout, command.Stderr = &output, &output
			require.Error(t, command.Run())
			assert.Contains(t, output.String(), "example_server: -store: ")
			assert.NotContains(t, output.String(), "hunter")
		})
	}
}

// TestEncodedUserInfoIsTaken: the driver gets it, and fails only as nobody listens.
func TestEncodedUserInfoIsTaken(t *testing.T) {
	for _, userInfo := range []string{"user@", "user:@", "user:%40%3A%2F%25%3F%23@", "user:a!b$c&d=e@", ""} {
		location := "mongodb://" + userInfo + "127.0.0.1:1/db?serverSelectionTimeoutMS=100&timeoutMS=100"
		output, err := command(t.TempDir(), []string{"OAUTHSV_STORE=" + location}, "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1").CombinedOutput()
		assert.Error(t, err)
		assert.Contains(t, string(output), "the server does not answer", userInfo)
	}
}

// TestLoopbackIssuerBeyondLoopback: an issuer that others cannot reach is warned of
// where others can reach the server.
func TestLoopbackIssuerBeyondLoopback(t *testing.T) {
	for name, test := range map[string]struct {
		addr, issuer string
		warned       bool
	}{
		"any address, localhost": {"0.0.0.0:0", "http://localhost:8080", true},
		"any address, 127.0.0.1": {"0.0.0.0:0", "http://127.0.0.1", true},
		"any address, ::1":       {":0", "http://[::1]:8080", true},
		"any address, https":     {"0.0.0.0:0", "https://localhost", true},
		"any address, a name":    {"0.0.0.0:0", "https://login.example.org", false},
		"loopback, localhost":    {"127.0.0.1:0", "http://localhost:8080", false},
		"loopback, a name":       {"127.0.0.1:0", "https://login.example.org", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := startCommand(t, command(t.TempDir(), nil, "-store", "memory:", "-addr", test.addr, "-issuer", test.issuer))
			if test.warned {
				p.assertLogs("clients on other machines cannot use")
			}
			log := p.stderr.String()
			for _, part := range []string{"level=WARN", "clients on other machines cannot use", "in the clear"} {
				assert.Equal(t, test.warned, strings.Contains(log, part), log)
			}
		})
	}
}
