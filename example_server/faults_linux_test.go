package main

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What clients and operators see of a fault of the file of accounts. store/boltstore has the
// faults themselves.

// outage checks that an answer is that of an outage, which a client waits out.
func (p *process) outage(request *http.Request, err error) {
	p.t.Helper()
	require.NoError(p.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(p.t, err)
	defer response.Body.Close()
	assert.Equal(p.t, 503, response.StatusCode, request.URL.Path)
	assert.NotEmpty(p.t, response.Header.Get("Retry-After"), request.URL.Path)
	assert.Empty(p.t, response.Header.Get("WWW-Authenticate"), "an outage never looks like a bad token")
}

func (p *process) postIsOutage(path string, form url.Values) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), "POST", p.url+path, strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	p.outage(request, err)
}

func (p *process) getIsOutage(path, token string) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), "GET", p.url+path, nil)
	request.Header.Set("Authorization", "Bearer "+token)
	p.outage(request, err)
}

func (p *process) assertStatus(path, token string, want int) {
	p.t.Helper()
	status, body := p.get(path, token)
	assert.Equal(p.t, want, status, "%s: %s", path, body)
}

var passwordGrant = url.Values{"grant_type": {"password"}, "username": {"root"}, "password": {rootPassword}}

func refreshGrant(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

// setDisk leaves a process no room for any write to a file, or all the room there is.
func setDisk(t *testing.T, process *os.Process, full bool) {
	t.Helper()
	var limit syscall.Rlimit
	prlimit := func(set, get *syscall.Rlimit) {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(process.Pid), syscall.RLIMIT_FSIZE,
			uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(get)), 0, 0)
		require.Zero(t, errno)
	}
	prlimit(nil, &limit)
	limit.Cur = limit.Max
	if full {
		limit.Cur = 0
	}
	prlimit(&limit, nil)
}

// TestFullDisk: what needs no write is served, the rest is an outage. It ends with its
// cause, and nothing that was answered is lost.
func TestFullDisk(t *testing.T) {
	directory := t.TempDir()
	p := start(t, directory)
	first, second := p.login(), p.login()
	for range 2 {
		setDisk(t, p.command.Process, true)
		p.postIsOutage("/token", passwordGrant)
		p.postIsOutage("/token", refreshGrant(first.RefreshToken))
		p.postIsOutage("/revoke", url.Values{"token": {second.RefreshToken}})
		p.assertStatus("/me", first.AccessToken, 200)
		p.assertStatus("/me", second.AccessToken, 200)
		p.assertStatus("/me", "bad", 401)
		p.assertStatus("/readyz", "", 503)
		p.assertStatus("/healthz", "", 200)

		setDisk(t, p.command.Process, false)
		p.assertStatus("/readyz", "", 200)
		p.assertStatus("/me", second.AccessToken, 200)
		first = p.refresh(first.RefreshToken)
		p.login()
	}
	log := p.stderr.String()
	path := filepath.Join(directory, "oauthsv.db")
	assert.Equal(t, 2, strings.Count(log, `level=ERROR msg="the account file cannot be written" file=oauthsv.db error="write oauthsv.db: file too large"`), log)
	assert.Equal(t, 2, strings.Count(log, `level=INFO msg="the account file can be written again" file=oauthsv.db`), log)
	require.Equal(t, 0, p.stop(syscall.SIGTERM))

	require.FileExists(t, path)
	p = start(t, directory)
	p.assertStatus("/me", first.AccessToken, 200)
	p.refresh(first.RefreshToken)
	p.refresh(second.RefreshToken)
}

// refusesToStart checks that a run ends with one sentence that says what is wrong.
func refusesToStart(t *testing.T, command *exec.Cmd, says ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	require.Error(t, command.Run())
	assert.Equal(t, 1, command.ProcessState.ExitCode())
	assert.Empty(t, stdout.String())
	text := strings.TrimSpace(stderr.String())
	assert.True(t, strings.HasPrefix(text, "example_server: -store: boltstore: opening oauthsv.db: "), text)
	assert.NotContains(t, text, "\n")
	for _, want := range says {
		assert.Contains(t, text, want)
	}
}

var onLoopback = []string{"-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1"}

// TestCorruptFile: a record that is damaged while the server runs is an outage for its
// account. The server does not start with it, and does with a backup.
func TestCorruptFile(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "oauthsv.db")
	p := start(t, directory)
	tokens := p.login()
	require.Equal(t, 0, p.stop(syscall.SIGTERM))
	backup, err := os.ReadFile(path)
	require.NoError(t, err)

	p = start(t, directory) // which has not read the account: what is in memory is answered still
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Contains(content, []byte("$argon2id$")))
	_, err = file.WriteAt(bytes.ReplaceAll(content, []byte("$argon2id$"), []byte("$argon2xx$")), 0)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	p.getIsOutage("/me", tokens.AccessToken)
	p.getIsOutage("/admin", tokens.AccessToken)
	p.postIsOutage("/token", passwordGrant)
	p.postIsOutage("/token", refreshGrant(tokens.RefreshToken))
	p.postIsOutage("/revoke", url.Values{"token": {tokens.RefreshToken}})
	p.assertStatus("/healthz", "", 200)
	p.assertLogs("the file is damaged")
	assert.NotContains(t, p.stderr.String(), "panic")
	assert.Equal(t, 0, p.stop(syscall.SIGTERM))

	refusesToStart(t, command(directory, nil, onLoopback...), "damaged", "restore it from a backup")
	require.NoError(t, os.WriteFile(path, backup, 0o600))
	p = start(t, directory)
	p.assertStatus("/me", tokens.AccessToken, 200)
	p.refresh(tokens.RefreshToken)
}

// TestFileHeldByAnotherServer: the second server does not start, and does once the first is
// gone. The first one does not notice.
func TestFileHeldByAnotherServer(t *testing.T) {
	directory := t.TempDir()
	p := start(t, directory)
	tokens := p.login()
	refusesToStart(t, command(directory, nil, onLoopback...), "in use by another process")
	p.assertStatus("/me", tokens.AccessToken, 200)
	tokens = p.refresh(tokens.RefreshToken)
	p.kill()
	p = start(t, directory)
	p.assertStatus("/me", tokens.AccessToken, 200)
	p.refresh(tokens.RefreshToken)
}

// TestReadOnlyFile runs the server as a user to whom the mode of a file matters.
func TestReadOnlyFile(t *testing.T) {
	directory, err := os.MkdirTemp("", "example_server")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(directory) })
	require.NoError(t, os.Chmod(directory, 0o777))
	asUser := func() *exec.Cmd {
		command := command(directory, nil, onLoopback...)
		if os.Geteuid() == 0 {
			require.NoError(t, os.Chmod(filepath.Dir(binary), 0o755))
			command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		return command
	}
	p := startCommand(t, asUser())
	tokens := p.login()
	path := filepath.Join(directory, "oauthsv.db")
	require.NoError(t, os.Chmod(path, 0o400))
	tokens = p.refresh(tokens.RefreshToken) // an open file can still be written
	require.Equal(t, 0, p.stop(syscall.SIGTERM))

	refusesToStart(t, asUser(), "permission denied")
	require.NoError(t, os.Chmod(path, 0o600))
	p = startCommand(t, asUser())
	p.assertStatus("/me", tokens.AccessToken, 200)
	p.refresh(tokens.RefreshToken)
}
