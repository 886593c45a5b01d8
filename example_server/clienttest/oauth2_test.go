package clienttest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
)

const rootPassword = "correct horse battery staple"

// startServer builds and runs the example server and returns its URL.
func startServer(t *testing.T, arguments ...string) string {
	t.Helper()
	directory := t.TempDir()
	binary := filepath.Join(directory, "example_server")
	build := exec.Command("go", "build", "-o", binary, "./example_server")
	build.Dir = "../.."
	output, err := build.CombinedOutput()
	require.NoError(t, err, string(output))

	command := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0", "-store", "memory:"}, arguments...)...)
	command.Dir = directory
	command.Env = []string{"OAUTHSV_ROOT_PASSWORD=" + rootPassword}
	command.Stderr = os.Stderr
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

// TestOAuth2Client: golang.org/x/oauth2 logs in, calls, and refreshes by itself.
// With access tokens of ten seconds it takes each for expired at once, so that
// every call is preceded by a refresh.
func TestOAuth2Client(t *testing.T) {
	location := startServer(t, "-access-ttl", "10s")
	for name, client := range map[string]oauth2.Config{
		"without a client id": {},
		"with one":            {ClientID: "my app", ClientSecret: "ignored"},
		"in the header":       {ClientID: "my app", Endpoint: oauth2.Endpoint{AuthStyle: oauth2.AuthStyleInHeader}},
		"in the body":         {ClientID: "my app", Endpoint: oauth2.Endpoint{AuthStyle: oauth2.AuthStyleInParams}},
	} {
		t.Run(name, func(t *testing.T) {
			client.Endpoint.TokenURL = location + "/token"
			token, err := client.PasswordCredentialsToken(t.Context(), "root", rootPassword)
			require.NoError(t, err)
			assert.Equal(t, "Bearer", token.Type())
			assert.NotEmpty(t, token.RefreshToken)

			web := client.Client(t.Context(), token)
			for range 5 {
				response, err := web.Get(location + "/me")
				require.NoError(t, err)
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				require.NoError(t, err)
				assert.Equal(t, 200, response.StatusCode)
				assert.Contains(t, string(body), `"name":"root"`)
			}

			_, err = client.PasswordCredentialsToken(t.Context(), "root", "wrong")
			var refused *oauth2.RetrieveError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, "invalid_grant", refused.ErrorCode)
		})
	}
}
