package main

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
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The tests of this package run the real program, as a process of its own.

var binary string

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		runChild()
		return
	}
	directory, err := os.MkdirTemp("", "example_server")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(directory, "example_server")
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(string(output))
	}
	code := m.Run()
	os.RemoveAll(directory)
	os.Exit(code)
}

// process is a running example_server.
type process struct {
	t       *testing.T
	command *exec.Cmd
	stdout  *bufio.Reader
	url     string
	stderr  *lockedBuffer
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

const rootPassword = "correct horse battery staple"

// command prepares a run in a directory, without the caller's environment.
func command(directory string, environment []string, arguments ...string) *exec.Cmd {
	command := exec.Command(binary, arguments...)
	command.Dir = directory
	command.Env = append([]string{"OAUTHSV_ROOT_PASSWORD=" + rootPassword}, environment...)
	return command
}

// start runs the server until it listens.
func start(t *testing.T, directory string, arguments ...string) *process {
	t.Helper()
	if !slices.Contains(arguments, "-addr") {
		arguments = append(arguments, "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1")
	}
	return startCommand(t, command(directory, nil, arguments...))
}

func startCommand(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p := launch(t, command)
	p.listen()
	return p
}

// launch starts the server and does not wait for it.
func launch(t *testing.T, command *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, command: command, stderr: new(lockedBuffer)}
	if command.Stderr == nil {
		command.Stderr = p.stderr
	}
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	p.stdout = bufio.NewReader(stdout)
	return p
}

// listen waits until the server listens.
func (p *process) listen() {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	require.NoError(p.t, err, p.stderr)
	location, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(p.t, found, line)
	p.url = location
}

// assertLogs waits for a text in the log: it may arrive after the line that says where the server
// listens.
func (p *process) assertLogs(text string) {
	p.t.Helper()
	assert.Eventually(p.t, func() bool { return strings.Contains(p.stderr.String(), text) }, time.Minute, 5*time.Millisecond, "%s\n%s", text, p.stderr)
}

// stop ends the process as an operator would and returns its exit status.
func (p *process) stop(signal os.Signal) int {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Signal(signal))
	_ = p.command.Wait()
	return p.command.ProcessState.ExitCode()
}

func (p *process) kill() {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Signal(syscall.SIGKILL))
	_ = p.command.Wait()
}

type tokenResponse struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"`
}

func (p *process) do(request *http.Request, err error) (status int, body string) {
	p.t.Helper()
	require.NoError(p.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(p.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	return response.StatusCode, string(text)
}

func (p *process) get(path, token string) (status int, body string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), "GET", p.url+path, nil)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	return p.do(request, err)
}

func (p *process) post(path string, form url.Values) (status int, body string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), "POST", p.url+path, strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.do(request, err)
}

func (p *process) token(form url.Values) (response tokenResponse) {
	p.t.Helper()
	status, body := p.post("/token", form)
	require.Equal(p.t, 200, status, body)
	require.NoError(p.t, json.Unmarshal([]byte(body), &response))
	return response
}

func (p *process) login() tokenResponse {
	p.t.Helper()
	return p.token(url.Values{"grant_type": {"password"}, "username": {"root"}, "password": {rootPassword}})
}

func (p *process) refresh(token string) tokenResponse {
	p.t.Helper()
	return p.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}})
}
