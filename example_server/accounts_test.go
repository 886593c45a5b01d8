package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
)

// ran is what a command left behind.
type ran struct {
	stdout, stderr string
	status         int
}

// runCommand runs the program to its end.
func runCommand(t *testing.T, directory, stdin string, arguments ...string) ran {
	t.Helper()
	command := command(directory, nil, arguments...)
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr
	if err := command.Run(); err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError))
	}
	return ran{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// last returns the line that says why the command failed. What comes before it is the log.
func (r ran) last(t *testing.T) string {
	t.Helper()
	require.Equal(t, 1, r.status, r)
	lines := strings.Split(strings.TrimSpace(r.stderr), "\n")
	for _, line := range lines[:len(lines)-1] {
		require.Contains(t, line, "level=")
	}
	return lines[len(lines)-1]
}

// administered is a store with a root account, and the commands over it.
type administered struct {
	t         *testing.T
	directory string
	store     string
	running   *process // over MongoDB a server runs beside the commands
}

// eachAdministered runs a test over a file, while no server runs, and over MongoDB, while one
// does.
func eachAdministered(t *testing.T, run func(t *testing.T, a *administered)) {
	t.Run("bolt", func(t *testing.T) {
		a := &administered{t: t, directory: t.TempDir(), store: "bolt:test.db"}
		a.server(func(*process) {})
		run(t, a)
	})
	t.Run("mongodb", func(t *testing.T) {
		a := &administered{t: t, directory: t.TempDir(), store: mongotest.URI(t)}
		a.running = start(t, a.directory, "-store", a.store)
		run(t, a)
	})
}

// server calls use with a server over the store.
func (a *administered) server(use func(p *process)) {
	a.t.Helper()
	if a.running != nil {
		use(a.running)
		return
	}
	p := start(a.t, a.directory, "-store", a.store)
	use(p)
	require.Equal(a.t, 0, p.stop(syscall.SIGTERM), p.stderr)
}

// accounts runs a command that must succeed, and returns its output.
func (a *administered) accounts(stdin string, arguments ...string) string {
	a.t.Helper()
	r := runCommand(a.t, a.directory, stdin, append([]string{"accounts", "-store", a.store}, arguments...)...)
	require.Zero(a.t, r.status, r.stderr)
	return r.stdout
}

// refused runs a command that must fail, and returns the reason.
func (a *administered) refused(stdin string, arguments ...string) string {
	a.t.Helper()
	return runCommand(a.t, a.directory, stdin, append([]string{"accounts", "-store", a.store}, arguments...)...).last(a.t)
}

func (p *process) passwordGrant(name, password string) (status int, body string) {
	p.t.Helper()
	return p.post("/token", url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}})
}

func jsonLines[T any](t *testing.T, output string) (values []T) {
	t.Helper()
	for line := range strings.Lines(output) {
		var value T
		require.NoError(t, json.Unmarshal([]byte(line), &value), line)
		values = append(values, value)
	}
	return values
}

// TestAccountsCommands lives the life of an account, by commands alone.
func TestAccountsCommands(t *testing.T) {
	t.Parallel()
	const first, second = "plum engine corner", "velvet harbour ladder"
	eachAdministered(t, func(t *testing.T, a *administered) {
		added := a.accounts(first+"\n", "add", "Ada", "Ada@example.org", "editors", "readers")
		assert.Regexp(t, `^[0-9a-f]{24}  ada  Ada@example\.org  groups \[editors readers\]  last action [-0-9]{10} [:0-9]{8}\n$`, added)
		id := added[:24]
		bob := jsonLines[store.Account](t, a.accounts(first, "-json", "add", "bob", "bob@example.org"))
		require.Len(t, bob, 1)
		assert.Equal(t, "bob", bob[0].Name)

		for _, name := range []string{"ada", "ADA", "ada@EXAMPLE.org", id} {
			assert.Equal(t, added, a.accounts("", "show", name))
		}
		assert.Equal(t, 3, strings.Count(a.accounts("", "list"), "\n"))
		assert.Equal(t, added, a.accounts("", "list", "a"))
		assert.Equal(t, added, a.accounts("", "list", "ada@"))
		assert.Empty(t, a.accounts("", "list", "x"))
		assert.Equal(t, added, a.accounts("", "-group", "editors", "list"))
		var names []string
		for _, account := range jsonLines[store.Account](t, a.accounts("", "-json", "list")) {
			names = append(names, account.Name)
		}
		assert.ElementsMatch(t, []string{"root", "ada", "bob"}, names)

		// A session in two places, and how one of them and then all end.
		var one, two tokenResponse
		grant := url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {first}}
		a.server(func(p *process) { one, two = p.token(grant), p.token(grant) })
		type session struct{ ID, Address string }
		sessions := jsonLines[session](t, a.accounts("", "-json", "sessions", "ada"))
		require.Len(t, sessions, 2)
		assert.Equal(t, "127.0.0.1", sessions[0].Address)
		assert.Contains(t, a.accounts("", "sessions", "ada"), sessions[1].ID+"  client ")
		alive := func(want ...int) {
			t.Helper()
			a.server(func(p *process) {
				for i, tokens := range []tokenResponse{one, two} {
					status, _ := p.get("/me", tokens.AccessToken)
					assert.Equal(t, want[i], status, i)
				}
			})
		}
		a.accounts("", "logout", "ada", sessions[0].ID)
		require.Len(t, jsonLines[session](t, a.accounts("", "-json", "sessions", "ada")), 1)
		a.accounts("", "logout", "ada")
		assert.Empty(t, a.accounts("", "sessions", "ada"))
		alive(401, 401)

		a.server(func(p *process) { one, two = p.token(grant), p.token(grant) })
		alive(200, 200)
		a.accounts(second, "passwd", "ada")
		alive(401, 401)
		a.server(func(p *process) {
			status, _ := p.passwordGrant("ada", first)
			assert.Equal(t, 400, status)
			status, _ = p.passwordGrant("ada", second)
			assert.Equal(t, 200, status)
		})

		a.accounts("", "disable", "ada")
		assert.Contains(t, a.accounts("", "show", "ada"), ", disabled\n")
		a.server(func(p *process) {
			status, _ := p.passwordGrant("ada", second)
			assert.Equal(t, 400, status)
		})
		a.accounts("", "enable", "ada")

		a.accounts("", "group", "add", "ada", store.AdminGroup)
		a.server(func(p *process) {
			one = p.token(url.Values{"grant_type": {"password"}, "username": {"ada"}, "password": {second}})
			status, _ := p.get("/admin", one.AccessToken)
			assert.Equal(t, 200, status)
		})
		a.accounts("", "group", "remove", "ada", store.AdminGroup)
		a.server(func(p *process) {
			status, _ := p.get("/admin", one.AccessToken)
			assert.Equal(t, 403, status)
		})

		a.server(func(p *process) {
			status := 0
			for range 100 {
				if status, _ = p.passwordGrant("ada", "wrong"); status == 429 {
					break
				}
			}
			require.Equal(t, 429, status)
		})
		a.accounts("", "unblock", "ada")
		a.server(func(p *process) {
			status, _ := p.passwordGrant("ada", second)
			assert.Equal(t, 200, status)
		})

		a.accounts("", "remove", "ada")
		assert.Contains(t, a.refused("", "show", "ada"), `account "ada": store: no such account`)
		a.server(func(p *process) {
			status, _ := p.get("/me", one.AccessToken)
			assert.Equal(t, 401, status)
		})

		for _, command := range [][]string{{"remove", "root"}, {"disable", "root"}, {"group", "remove", "root", "admin"}} {
			assert.Contains(t, a.refused("", command...), "the last administrator")
		}
		assert.Contains(t, a.refused(first, "add", "ROOT", "other@example.org"), "another account has this name")
		assert.Contains(t, a.refused("root\n", "passwd", "root"), "password")
		assert.Contains(t, a.refused("", "passwd", "root"), "the password is empty")
		assert.Contains(t, a.refused("\n", "add", "carol", "carol@example.org"), "the password is empty")
		assert.Contains(t, a.refused("", "logout", "root", "AAAAAAAAAAAAAAAAAAAAAA"), "session")
		a.server(func(p *process) { p.login() })
	})
}

// TestForgottenRootPassword: whoever can read the file can come in again.
func TestForgottenRootPassword(t *testing.T) {
	t.Parallel()
	eachAdministered(t, func(t *testing.T, a *administered) {
		a.accounts("violet cabinet thunder\r\n", "passwd", "root")
		a.server(func(p *process) {
			status, _ := p.passwordGrant("root", rootPassword)
			assert.Equal(t, 400, status)
			status, body := p.passwordGrant("root", "violet cabinet thunder")
			assert.Equal(t, 200, status, body)
		})
	})
}

// TestCommandsSayThatTheFileIsInUse, and what to do.
func TestCommandsSayThatTheFileIsInUse(t *testing.T) {
	t.Parallel()
	directory := t.TempDir()
	p := start(t, directory)
	for _, arguments := range [][]string{{"accounts", "list"}, {"backup", "copy.db"}} {
		reason := runCommand(t, directory, "plum engine corner", arguments...).last(t)
		assert.Contains(t, reason, "oauthsv.db: the file is in use by another process; stop the server first")
		assert.Equal(t, arguments[0] == "backup", strings.Contains(reason, "GET /admin/backup"))
	}
	p.login()
}

// TestMistypedStoreMakesNoFile: an empty list of accounts would look like a loss.
func TestMistypedStoreMakesNoFile(t *testing.T) {
	directory := t.TempDir()
	for _, arguments := range [][]string{
		{"list"}, {"show", "a"}, {"passwd", "a"}, {"disable", "a"}, {"enable", "a"}, {"group", "add", "a", "b"}, {"group", "remove", "a", "b"},
		{"sessions", "a"}, {"logout", "a"}, {"unblock", "a"}, {"remove", "a"}, {"export"},
	} {
		reason := runCommand(t, directory, "plum engine corner", append([]string{"accounts", "-store", "bolt:typo.db"}, arguments...)...).last(t)
		assert.Equal(t, "example_server: -store: there is no file typo.db; name the one that the server has", reason, arguments)
	}
	assert.Contains(t, runCommand(t, directory, "", "backup", "-store", "bolt:typo.db", "copy.db").last(t), "there is no file typo.db")
	assert.Contains(t, runCommand(t, directory, "", "accounts", "-store", "bolt:typo.db", "import", "typo.jsonl").last(t), "typo.jsonl: no such file")
	assert.Contains(t, runCommand(t, directory, "", "accounts", "-store", "bolt:typo/typo.db", "list").last(t), "there is no file typo/typo.db")
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Empty(t, entries)

	// These two make accounts before the first start of a server.
	for stdin, arguments := range map[string][]string{
		"plum engine corner":                       {"add", "ada", "ada@example.org"},
		`{"name":"ada","email":"ada@example.org"}`: {"import", "-"},
	} {
		path := filepath.Join(t.TempDir(), "new.db")
		r := runCommand(t, directory, stdin, append([]string{"accounts", "-store", "bolt:" + path}, arguments...)...)
		require.Zero(t, r.status, r.stderr)
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode())
	}
}

func TestCommandsRefuseWrongArguments(t *testing.T) {
	directory := t.TempDir()
	for _, test := range []struct{ arguments, says string }{
		{"accounts", "a command is missing: one of list, show, add,"},
		{"accounts turn", `unknown command "turn": the commands are list, show, add,`},
		{"accounts group", `unknown command "group": the commands are`},
		{"accounts group turn a b", `unknown command "group": the commands are`},
		{"accounts -x list", "-x"},
		{"accounts -json=maybe list", "json"},
		{"accounts list a b", "wrong number of arguments for list"},
		{"accounts show", "wrong number of arguments for show"},
		{"accounts add ada", "wrong number of arguments for add"},
		{"accounts group add ada", "wrong number of arguments for group add"},
		{"accounts logout a b c", "wrong number of arguments for logout"},
		{"accounts export file", "wrong number of arguments for export"},
		{"accounts list -json", "flags such as -json stand before list"},
		{"keys list -key-file other.key", "flags such as -key-file stand before list"},
		{"accounts add ada ada@example.org -json", "flags such as -json stand before add"},
		{"accounts export -after=x", "flags such as -after=x stand before export"},
		{"accounts import", "import takes a file"},
		{"accounts -from mongodb://user:hunter2@127.0.0.1/x import file", "import takes a file"},
		{"accounts -store memory: list", "-store: memory: ends with the process"},
		{"accounts -store redis://x list", "-store: must be"},
		{"accounts -store bolt:mongodb://user:hunter2@h/x list", "-store: bolt: takes the name of a file"},
		{"accounts -store mongodb://user:hunter2@127.0.0.1:1/x?serverSelectionTimeoutMS=100 list", "the server does not answer"},
		{"backup", "name the file to write"},
		{"backup a b", "name the file to write"},
		{"backup -x a", "-x"},
		{"backup -store mongodb://user:hunter2@h/x a", "mongodump"},
		{"backup -store memory: a", "only bolt: stores"},
	} {
		r := runCommand(t, directory, "", strings.Fields(test.arguments)...)
		reason := r.last(t)
		assert.True(t, strings.HasPrefix(reason, "example_server: "), reason)
		assert.Contains(t, reason, test.says, test.arguments)
		assert.NotContains(t, r.stderr, "hunter2")
		assert.Empty(t, r.stdout)
	}
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestSessionIDMayBeginLikeAFlag: it is random.
func TestSessionIDMayBeginLikeAFlag(t *testing.T) {
	a := &administered{t: t, directory: t.TempDir(), store: "bolt:test.db"}
	a.server(func(*process) {})
	assert.NotContains(t, a.refused("", "logout", "root", "-AAAAAAAAAAAAAAAAAAAAA"), "flags")
}

func TestHelpOfTheCommands(t *testing.T) {
	for name, words := range map[string][]string{
		"accounts": {"list [PREFIX]", "import FILE", "-json", "-from", "-after", "OAUTHSV_STORE"},
		"backup":   {"To restore", "-store"},
	} {
		command := command(t.TempDir(), []string{"OAUTHSV_STORE=mongodb://user:hunter2@h/x"}, name, "-help")
		output, err := command.CombinedOutput()
		require.NoError(t, err)
		for _, word := range words {
			assert.Contains(t, string(output), word)
		}
		assert.NotContains(t, string(output), "hunter2")
	}
}

// TestStoreOfTheCommandsIsThatOfTheServer: the environment is read alike.
func TestStoreOfTheCommandsIsThatOfTheServer(t *testing.T) {
	directory := t.TempDir()
	environment := []string{"OAUTHSV_STORE=bolt:other.db", "OAUTHSV_ADDR=127.0.0.1:0", "OAUTHSV_ISSUER=http://127.0.0.1"}
	p := startCommand(t, command(directory, environment))
	require.Equal(t, 0, p.stop(syscall.SIGTERM))
	output, err := command(directory, environment, "accounts", "list").Output()
	require.NoError(t, err)
	assert.Regexp(t, regexp.MustCompile(`  root  root@localhost  groups \[admin\]`), string(output))
	_, err = os.Stat(filepath.Join(directory, "oauthsv.db"))
	assert.True(t, errors.Is(err, os.ErrNotExist))
}
