package main

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"encoding/json"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
)

// keysCommand runs "example_server keys".
func keysCommand(t *testing.T, directory string, arguments ...string) string {
	t.Helper()
	output, err := exec.Command(binary, append([]string{"keys", "-key-file", filepath.Join(directory, "oauthsv.key")}, arguments...)...).CombinedOutput()
	require.NoError(t, err, string(output))
	return string(output)
}

// reload tells the server that the key file has changed and waits for its word.
func (p *process) reload() {
	p.t.Helper()
	said := strings.Count(p.stderr.String(), "the keys")
	require.NoError(p.t, p.command.Process.Signal(syscall.SIGHUP))
	for strings.Count(p.stderr.String(), "the keys")+strings.Count(p.stderr.String(), "the old keys stay") == said {
	}
}

// TestRotationUnderLoad: logins, refreshes and protected requests go on while keys
// are added, activated and retired; not one is refused.
func TestRotationUnderLoad(t *testing.T) {
	directory := t.TempDir()
	p := start(t, directory, "-store", "memory:")
	var sent, refused atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	count := func(response *http.Response, err error, into any) {
		sent.Add(1)
		if err != nil {
			refused.Add(1)
			return
		}
		if decode(response, into) != nil {
			refused.Add(1)
		}
	}
	for range 4 {
		load.Go(func() {
			for {
				var tokens tokenResponse
				response, err := http.PostForm(p.url+"/token", url.Values{"grant_type": {"password"}, "username": {"root"}, "password": {rootPassword}})
				count(response, err, &tokens)
				for range 20 {
					request, _ := http.NewRequest("GET", p.url+"/me", nil)
					request.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
					response, err = http.DefaultClient.Do(request)
					count(response, err, new(any))
					response, err = http.PostForm(p.url+"/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}})
					count(response, err, &tokens)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	first := strings.Fields(keysCommand(t, directory, "list"))[0]
	for _, algorithm := range []string{"EdDSA", "HS512", "ES256", "RS256", "EdDSA"} {
		keysCommand(t, directory, "-alg", algorithm, "add")
		p.reload()
		lines := strings.Split(strings.TrimSpace(keysCommand(t, directory, "list")), "\n")
		added := strings.Fields(lines[len(lines)-1])[0]
		assert.Contains(t, lines[len(lines)-1], algorithm+" next")
		keysCommand(t, directory, "activate", added)
		p.reload()
		assert.Contains(t, keysCommand(t, directory, "list"), added+" "+algorithm+" active")
	}
	close(stop)
	load.Wait()
	t.Logf("rotation under load: %d requests sent, %d refused", sent.Load(), refused.Load())
	assert.Zero(t, refused.Load())
	assert.Contains(t, keysCommand(t, directory, "list"), first+" HS512 retired until ")

	tokens := p.login()
	keysCommand(t, directory, "-alg", "EdDSA", "add")
	broken := filepath.Join(directory, "oauthsv.key")
	require.NoError(t, os.WriteFile(broken, []byte(`{"keys":[`), 0o600))
	p.reload()
	p.assertLogs("the old keys stay in force")
	status, _ := p.get("/me", tokens.AccessToken)
	assert.Equal(t, 200, status)
	assert.NotContains(t, p.stderr.String(), `"d"`)
}

func TestLeakedKeyIsRemoved(t *testing.T) {
	directory := t.TempDir()
	p := start(t, directory, "-store", "memory:")
	tokens := p.login()
	leaked := strings.Fields(keysCommand(t, directory, "list"))[0]
	added := strings.Fields(keysCommand(t, directory, "add"))[3]
	keysCommand(t, directory, "activate", strings.Trim(added, `"`))
	keysCommand(t, directory, "-now", "retire", leaked)
	p.reload()
	status, _ := p.get("/me", tokens.AccessToken)
	assert.Equal(t, 401, status)
	status, _ = p.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}})
	assert.Equal(t, 400, status)
	status, _ = p.get("/me", p.login().AccessToken)
	assert.Equal(t, 200, status)
}

func TestKeysCommandRefuses(t *testing.T) {
	for _, arguments := range [][]string{
		{}, {"list", "x"}, {"activate"}, {"retire"}, {"turn", "x"}, {"-x"}, {"-alg", "HS256", "add"}, {"-refresh-ttl", "0", "add"},
		{"-key-file", "no.key", "list"}, {"activate", "nobody"},
	} {
		directory := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(directory, "oauthsv.key"), []byte(strings.Repeat("0123456789abcdef", 4)), 0o600))
		output, err := command(directory, nil, append([]string{"keys"}, arguments...)...).CombinedOutput()
		require.Error(t, err, "%q", arguments)
		assert.Equal(t, 1, strings.Count(string(output), "\n"), "one sentence: %s", output)
	}
	output, err := command(t.TempDir(), nil, "keys", "-help").CombinedOutput()
	require.NoError(t, err)
	assert.Contains(t, string(output), "activate KID")
}

func TestSessionsOfAUser(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:")
	one, two, three := p.login(), p.login(), p.login()
	type view struct {
		ID        string `json:"id"`
		ClientID  string `json:"client_id"`
		UserAgent string `json:"user_agent"`
		Address   string `json:"address"`
		Current   bool   `json:"current"`
	}
	list := func(token string) (sessions []view) {
		status, body := p.get("/me/sessions", token)
		require.Equal(t, 200, status)
		var answer struct{ Sessions []view }
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		return answer.Sessions
	}
	remove := func(path, token string) int {
		request, err := http.NewRequest("DELETE", p.url+path, nil)
		request.Header.Set("Authorization", "Bearer "+token)
		status, _ := p.do(request, err)
		return status
	}
	sessions := list(two.AccessToken)
	require.Len(t, sessions, 3)
	for i, session := range sessions {
		assert.Equal(t, i == 1, session.Current)
		assert.Equal(t, "127.0.0.1", session.Address)
		assert.Contains(t, session.UserAgent, "Go-http-client")
		assert.Equal(t, "default", session.ClientID)
	}
	assert.Equal(t, 204, remove("/me/sessions/"+sessions[0].ID, two.AccessToken))
	assert.Equal(t, 404, remove("/me/sessions/"+sessions[0].ID, two.AccessToken))
	assert.Equal(t, 401, remove("/me/sessions", one.AccessToken))
	assert.Equal(t, 204, remove("/me/sessions?others=true", two.AccessToken))
	assert.Len(t, list(two.AccessToken), 1)
	status, _ := p.get("/me", three.AccessToken)
	assert.Equal(t, 401, status)
	assert.Equal(t, 204, remove("/me/sessions", two.AccessToken))
	status, _ = p.get("/me", two.AccessToken)
	assert.Equal(t, 401, status)
}

func TestRevokeAndIntrospect(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:")
	root, other := p.login(), p.login()
	ask := func(token string) (int, string) {
		request, err := http.NewRequest("POST", p.url+"/introspect", strings.NewReader("token="+token))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Authorization", "Bearer "+root.AccessToken)
		return p.do(request, err)
	}
	status, body := ask(other.AccessToken)
	assert.Equal(t, 200, status)
	assert.Contains(t, body, `"active":true`)
	status, _ = p.post("/revoke", url.Values{"token": {other.RefreshToken}})
	assert.Equal(t, 200, status)
	status, body = ask(other.AccessToken)
	assert.Equal(t, 200, status)
	assert.Equal(t, `{"active":false}`, body)
	status, _ = p.post("/introspect", url.Values{"token": {root.AccessToken}})
	assert.Equal(t, 401, status)
}

func TestWellKnown(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:", "-addr", "127.0.0.1:0", "-issuer", "https://login.example.org/auth")
	status, body := p.get("/.well-known/oauth-authorization-server/auth", "")
	assert.Equal(t, 200, status)
	assert.JSONEq(t, `{"issuer":"https://login.example.org/auth",
		"token_endpoint":"https://login.example.org/auth/token",
		"revocation_endpoint":"https://login.example.org/auth/revoke",
		"introspection_endpoint":"https://login.example.org/auth/introspect",
		"grant_types_supported":["password","refresh_token"],"response_types_supported":[],
		"token_endpoint_auth_methods_supported":["none"],"revocation_endpoint_auth_methods_supported":["none"],
		"introspection_endpoint_auth_methods_supported":["Bearer"]}`, body)
	status, body = p.get("/auth/.well-known/jwks.json", "")
	assert.Equal(t, 200, status)
	assert.JSONEq(t, `{"keys":[]}`, body)
	status, _ = p.post("/auth/token", url.Values{"grant_type": {"password"}, "username": {"root"}, "password": {rootPassword}})
	assert.Equal(t, 200, status)
}

func TestRevocationOnASecondProcess(t *testing.T) {
	uri, directory := mongotest.URI(t), t.TempDir()
	one, two := start(t, directory, "-store", uri), start(t, directory, "-store", uri)
	tokens := one.login()
	status, _ := two.get("/me", tokens.AccessToken)
	require.Equal(t, 200, status)
	status, _ = one.post("/revoke", url.Values{"token": {tokens.AccessToken}})
	require.Equal(t, 200, status)
	for _, p := range []*process{one, two} {
		status, _ = p.get("/me", tokens.AccessToken)
		assert.Equal(t, 401, status)
	}
}
