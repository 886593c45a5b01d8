package browsertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const rootPassword = "correct horse battery staple"

var binary, profile string

func TestMain(m *testing.M) {
	directory, err := os.MkdirTemp("", "browsertest")
	if err != nil {
		panic(err)
	}
	binary, profile = filepath.Join(directory, "example_server"), filepath.Join(directory, "profile")
	build := exec.Command("go", "build", "-o", binary, "./example_server")
	build.Dir = "../.."
	if output, err := build.CombinedOutput(); err != nil {
		panic(string(output))
	}
	code := m.Run()
	closeBrowser()
	os.RemoveAll(directory)
	os.Exit(code)
}

// server is a running example server.
type server struct {
	url     string
	stderr  *lockedBuffer
	process *os.Process
}

type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// start runs the example server. The reuse interval is 0 unless the arguments say otherwise,
// so that no test waits for its end.
func start(t *testing.T, arguments ...string) *server {
	t.Helper()
	command := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0", "-store", "memory:", "-reuse-interval", "0"}, arguments...)...)
	command.Dir = t.TempDir()
	command.Env = []string{"OAUTHSV_ROOT_PASSWORD=" + rootPassword}
	s := &server{stderr: new(lockedBuffer)}
	command.Stderr = s.stderr
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err, s.stderr)
	s.url, s.process = strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), command.Process
	return s
}

var codeInMail = regexp.MustCompile(`\\n([A-Z0-9]+(?:-[A-Z0-9]+)+)\\n`)

// code waits for the code of a mail to an address, in a server with -mail-to-log. It is the
// last one there.
func (s *server) code(t *testing.T, address string) (code string) {
	t.Helper()
	require.Eventually(t, func() bool {
		code = ""
		for line := range strings.Lines(s.stderr.String()) {
			if found := codeInMail.FindStringSubmatch(line); found != nil && strings.Contains(line, "to="+address) {
				code = found[1]
			}
		}
		return code != ""
	}, patience, 10*time.Millisecond, s.stderr)
	return code
}

// login logs in as another client, and returns the access token. Without a clientID it sends
// none.
func (s *server) login(t *testing.T, name, password, clientID string) string {
	t.Helper()
	form := url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}}
	if clientID != "" {
		form.Set("client_id", clientID)
	}
	response, err := http.PostForm(s.url+"/token", form)
	require.NoError(t, err)
	defer response.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&body))
	require.NotEmpty(t, body.AccessToken)
	return body.AccessToken
}

// call sends a request with an access token and JSON, which may be "". It returns the body of
// the answer.
func (s *server) call(t *testing.T, token, method, path, content string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(content))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Less(t, response.StatusCode, 300, string(body))
	return string(body)
}

// addAlice makes an account beside root, and returns its path below /admin. Its password is
// newPassword.
func (s *server) addAlice(t *testing.T, groups string) string {
	t.Helper()
	body := s.call(t, s.login(t, "root", rootPassword, "test"), "POST", "/admin/accounts",
		`{"name": "alice", "email": "alice@example.org", "password": "`+newPassword+`", "groups": [`+groups+`]}`)
	var account struct {
		ID string `json:"account_id"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &account))
	return "/admin/accounts/" + account.ID
}
