package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEndpoints(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:")
	tokens := p.login()
	assert.Equal(t, 900, tokens.ExpiresIn)
	id := regexp.MustCompile(`"account_id":"[0-9a-f]{24}"`)

	status, body := p.get("/me", tokens.AccessToken)
	assert.Equal(t, 200, status)
	assert.Regexp(t, id, body)
	assert.Contains(t, body, `"name":"root","email":"root@localhost","groups":["admin"]`)
	status, body = p.get("/admin", tokens.AccessToken)
	assert.Equal(t, 200, status)
	assert.Regexp(t, id, body)
	_, body = p.get("/public", tokens.AccessToken)
	assert.Regexp(t, id, body)
	status, body = p.get("/public", "")
	assert.Equal(t, 200, status)
	assert.JSONEq(t, `{"account_id":null}`, body)

	for path, want := range map[string]int{"/me": 401, "/admin": 401, "/healthz": 200, "/readyz": 200, "/": 200, "/x": 404} {
		status, _ := p.get(path, "")
		assert.Equal(t, want, status, path)
	}
	for _, path := range []string{"/me", "/admin", "/public"} {
		status, _ := p.get(path, "bad")
		assert.Equal(t, 401, status, path)
	}
	assert.NotContains(t, p.stderr.String(), rootPassword)
	assert.NotContains(t, p.stderr.String(), tokens.AccessToken)
}

// TestKill: what was answered survives kill -9 at any moment, under load.
func TestKill(t *testing.T) {
	directory := t.TempDir()
	p := start(t, directory)
	kept := p.login()
	var last tokenResponse
	answered := make(chan struct{}, 1)
	var load sync.WaitGroup
	load.Go(func() {
		current := p.login()
		for {
			response, err := http.PostForm(p.url+"/token", map[string][]string{"grant_type": {"refresh_token"}, "refresh_token": {current.RefreshToken}})
			if err != nil {
				return // killed
			}
			if decode(response, &current) != nil {
				return
			}
			last = current
			select {
			case answered <- struct{}{}:
			default:
			}
		}
	})
	for range 3 {
		<-answered
	}
	p.kill()
	load.Wait()

	p = start(t, directory)
	status, _ := p.get("/me", kept.AccessToken)
	assert.Equal(t, 200, status)
	p.refresh(kept.RefreshToken)
	// A refresh that was under way at the end may have been written and not
	// answered: the last answered token is then one before, and still good.
	p.refresh(last.RefreshToken)
	assert.NotContains(t, p.stderr.String(), "made account", "the root account is made once")
	p.assertLogs("store=bolt:" + filepath.Join(directory, "oauthsv.db") + " key_file=" + filepath.Join(directory, "oauthsv.key"))
}

// TestShutdownFinishesRequests: logins take a while; those in flight when the
// signal comes are answered, and the exit status is 0.
func TestShutdownFinishesRequests(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := start(t, t.TempDir())
		const logins = 8
		var all sync.WaitGroup
		begun := make(chan struct{}, logins)
		statuses := make([]int, logins)
		for i := range statuses {
			all.Go(func() {
				statuses[i] = slowLogin(p.url, begun)
			})
		}
		for range logins {
			<-begun
		}
		assert.Equal(t, 0, p.stop(signal))
		all.Wait()
		for _, status := range statuses {
			assert.Equal(t, 200, status)
		}
	}
}

func TestRefusesToStart(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(directory, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	public := write("public.pem", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n")
	inUse := start(t, directory, "-store", "bolt:"+filepath.Join(directory, "used.db"))
	for name, test := range map[string]struct {
		arguments []string
		says      string
	}{
		"unknown flag":           {[]string{"-x"}, "-x"},
		"argument":               {[]string{"serve"}, `"serve"`},
		"session TTL":            {[]string{"-session-ttl", "1ms"}, "-session-ttl 1ms: must be at least 1s, such as 2160h, or 0 for none"},
		"not a duration":         {[]string{"-access-ttl", "soon"}, "\"soon\" for flag -access-ttl: write a duration such as 90s, 15m or 720h"},
		"negative duration":      {[]string{"-lost-reply-window", "-1ns"}, "-lost-reply-window -1ns: must be at least 0s"},
		"zero access TTL":        {[]string{"-access-ttl", "0"}, "-access-ttl 0s: must be at least 1s"},
		"reuse interval":         {[]string{"-reuse-interval", "61s"}, "-reuse-interval 1m1s: must be at most 1m0s"},
		"bad address":            {[]string{"-addr", "127.0.0.1:99999"}, `-addr "127.0.0.1:99999": invalid port: write HOST:PORT, such as 127.0.0.1:8080`},
		"address in use":         {[]string{"-addr", strings.TrimPrefix(inUse.url, "http://")}, "another program listens there"},
		"no issuer":              {[]string{"-addr", ":0"}, "-issuer is required"},
		"issuer with a password": {[]string{"-issuer", "https://user:hunter2@login.example.org"}, "a URL with an @"},
		"malformed issuer":       {[]string{"-issuer", "https://user:hunter2@h ost/"}, "-issuer"},
		"issuer in the way":      {[]string{"-issuer", "https://login.example.org/admin/accounts"}, "choose another one, such as /auth"},
		"URI as an argument":     {[]string{"mongodb://user:hunter2@h/db"}, "unexpected argument that looks like a URI"},
		"URI as a command":       {[]string{"accounts", "mongodb://user:hunter2@h/db"}, "unknown command that looks like a URI"},
		"no key file":            {[]string{"-key-file", ""}, "-key-file is empty"},
		"endless":                {[]string{"-access-ttl", "9999999h"}, "the longest is"},
		"bad issuer":             {[]string{"-issuer", "login.example.org"}, `Issuer is "login.example.org": it must begin with https:// or http://`},
		"issuer with query":      {[]string{"-issuer", "https://x?y"}, `"https://x?y"`},
		"unknown store":          {[]string{"-store", "redis://x"}, "such as mongodb://localhost/oauthsv"},
		"no file":                {[]string{"-store", "bolt:"}, `-store: "bolt:": must be memory:, bolt: with the name of a file such as bolt:oauthsv.db`},
		"no directory":           {[]string{"-store", "bolt:" + directory + "/no/such.db"}, "no such file or directory"},
		"no database":            {[]string{"-store", "bolt:" + write("text.db", "text")}, "not an oauthsv store"},
		"database in use":        {[]string{"-store", "bolt:" + filepath.Join(directory, "used.db")}, "in use by another process"},
		"short key":              {[]string{"-key-file", write("short.key", "seven77")}, "at least 64"},
		"public key":             {[]string{"-key-file", public}, "can sign"},
		"empty set":              {[]string{"-key-file", write("set.key", `{"keys":[]}`)}, "empty"},
		"key is a directory":     {[]string{"-key-file", directory}, "-key-file"},
		"bad root name":          {[]string{"-root-name", "a b", "-store", "memory:"}, `-root-name "a b"`},
		"bad root e-mail":        {[]string{"-root-email", "root", "-store", "memory:"}, `-root-email "root"`},
	} {
		t.Run(name, func(t *testing.T) {
			command := command(t.TempDir(), []string{"OAUTHSV_ADDR=127.0.0.1:0"}, test.arguments...)
			var stdout, stderr bytes.Buffer
			command.Stdout, command.Stderr = &stdout, &stderr
			require.Error(t, command.Run())
			assert.Equal(t, 1, command.ProcessState.ExitCode())
			assert.Empty(t, stdout.String())
			lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
			last := lines[len(lines)-1]
			assert.Contains(t, last, test.says)
			assert.True(t, strings.HasPrefix(last, "example_server: "), last)
			for _, line := range lines[:len(lines)-1] {
				assert.Contains(t, line, "level=", "one sentence, beside the log: %s", line)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	directory := t.TempDir()
	p := startCommand(t, command(directory, []string{
		"OAUTHSV_ADDR=127.0.0.1:0", "OAUTHSV_STORE=memory:", "OAUTHSV_KEY_FILE=other.key", "OAUTHSV_ISSUER=http://localhost:1", "OAUTHSV_AUDIENCE=api",
	}))
	p.login()
	info, err := os.Stat(filepath.Join(directory, "other.key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func TestWarnings(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:", "-addr", "127.0.0.1:0")
	p.assertLogs("picked at random")
	assert.NotContains(t, p.stderr.String(), "in the clear")
	p = start(t, t.TempDir(), "-store", "memory:", "-addr", "127.0.0.1:0", "-issuer", "http://login.example.org")
	p.assertLogs("in the clear")
	assert.NotContains(t, p.stderr.String(), "picked at random")
}

func TestRootPasswordIsPrintedOnce(t *testing.T) {
	directory := t.TempDir()
	run := func() string {
		command := command(directory, nil, "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1")
		command.Env = nil
		p := startCommand(t, command)
		require.Equal(t, 0, p.stop(syscall.SIGTERM))
		return p.stderr.String()
	}
	assert.Regexp(t, `made account "root" with password [A-Z2-7]{26} `, run())
	assert.NotContains(t, run(), "password")
}

func TestHelp(t *testing.T) {
	output, err := command(t.TempDir(), nil, "-help").CombinedOutput()
	require.NoError(t, err)
	for _, name := range []string{"-addr", "-store", "-issuer", "-audience", "-key-file", "OAUTHSV_KEY_FILE", "OAUTHSV_ROOT_PASSWORD"} {
		assert.Contains(t, string(output), name)
	}
}
