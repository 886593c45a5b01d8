package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
	"github.com/oauthsv/oauthsv/store/transfer"
)

// importLines are n accounts from elsewhere, one a line, without passwords.
func importLines(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"account_id":"%024x","name":"user-%d","email":"user-%d@example.org","groups":["editors"]}`+"\n", i+1, i, i)
	}
	return text.String()
}

// TestExportAndImport moves accounts to another store, where they log in.
func TestExportAndImport(t *testing.T) {
	eachAdministered(t, func(t *testing.T, a *administered) {
		const digest = `{"name":"ada","email":"ada@example.org","sha224":"%x"}` + "\n"
		lines := fmt.Sprintf(digest, sha256.Sum224([]byte("plum engine corner"))) + "x\n" + importLines(3)
		r := runCommand(t, a.directory, lines, "accounts", "-store", a.store, "import", "-")
		require.Equal(t, 1, r.status, "a script must notice")
		assert.Contains(t, r.stderr, "1 records were refused")
		assert.Equal(t, "record 2: the line is no JSON object\n", r.stdout)
		assert.Contains(t, r.stderr, "imported 4, already there 0, refused 1\n")
		a.server(func(p *process) {
			status, body := p.passwordGrant("ada", "plum engine corner")
			assert.Equal(t, 200, status, body)
		})

		path := filepath.Join(t.TempDir(), "accounts.jsonl")
		r = runCommand(t, a.directory, "", "accounts", "-store", a.store, "export")
		require.Zero(t, r.status, r.stderr)
		assert.Contains(t, r.stderr, "exported 5 accounts\n")
		require.NoError(t, os.WriteFile(path, []byte(r.stdout), 0o600))
		assert.Len(t, jsonLines[transfer.Record](t, r.stdout), 5)
		all := strings.SplitAfter(r.stdout, "\n")
		assert.Equal(t, strings.Join(all[2:], ""), a.accounts("", "-after", strings.Repeat("0", 23)+"2", "export"))
		assert.Contains(t, a.refused("", "-after", "2", "export"), "-after: store: an account id must be")

		for _, target := range []string{"bolt:" + filepath.Join(t.TempDir(), "other.db"), mongotest.URI(t)} {
			other := &administered{t: t, directory: t.TempDir(), store: target}
			assert.Empty(t, other.accounts("", "import", path))
			assert.Equal(t, r.stdout, other.accounts("", "export"))
			again := runCommand(t, other.directory, "", "accounts", "-store", target, "import", path)
			assert.Contains(t, again.stderr, "imported 0, already there 5, refused 0\n")
			other.server(func(p *process) {
				p.login() // the root account has moved too, with its password
				status, _ := p.passwordGrant("ada", "plum engine corner")
				assert.Equal(t, 200, status)
			})
		}

		type refusal struct {
			Record  int
			Refused string
		}
		r = runCommand(t, a.directory, "\nx\n", "accounts", "-store", a.store, "-json", "import", "-")
		require.Equal(t, 1, r.status)
		refused := jsonLines[refusal](t, r.stdout)
		assert.Equal(t, []refusal{{2, "the line is no JSON object"}}, refused)
		assert.Contains(t, a.refused("", "import", "no-such-file"), "no-such-file: no such file")
	})
}

// TestImportFromClink reads the collection of the system before.
func TestImportFromClink(t *testing.T) {
	from := mongotest.URI(t)
	client, err := mongo.Connect(t.Context(), options.Client().ApplyURI(from))
	require.NoError(t, err)
	defer client.Disconnect(t.Context())
	name, _, _ := strings.Cut(from[strings.LastIndex(from, "/")+1:], "?")
	_, err = client.Database(name).Collection("people").InsertMany(t.Context(), []any{
		bson.D{{Key: "name", Value: "ada"}, {Key: "email", Value: "ada@example.org"}, {Key: "hashpwd", Value: fmt.Sprintf("%x", sha256.Sum224([]byte("secret")))}},
		bson.D{{Key: "name", Value: "bob"}},
	})
	require.NoError(t, err)
	eachAdministered(t, func(t *testing.T, a *administered) {
		imported := runCommand(t, a.directory, "", "accounts", "-store", a.store, "-from", from, "-collection", "people", "import")
		require.Equal(t, 1, imported.status)
		assert.Equal(t, "record 2: hashpwd is missing\n", imported.stdout)
		a.server(func(p *process) {
			status, _ := p.passwordGrant("ada", "secret")
			assert.Equal(t, 200, status)
		})
		r := runCommand(t, a.directory, "", "accounts", "-store", a.store, "-from", "mongodb://user:hunter2@127.0.0.1:1/clink?serverSelectionTimeoutMS=100", "import")
		assert.Equal(t, 1, r.status)
		assert.Contains(t, r.stderr, "collection account of database clink at 127.0.0.1:1: the server does not answer")
		assert.NotContains(t, r.stderr, "hunter2")
	})
}

// TestInterruptedImportContinues: an operator presses Ctrl-C, and runs the same command again.
func TestInterruptedImportContinues(t *testing.T) {
	eachAdministered(t, func(t *testing.T, a *administered) {
		const n = 400
		lines := strings.SplitAfter(importLines(n), "\n")
		command := command(a.directory, nil, "accounts", "-store", a.store, "import", "-")
		input, err := command.StdinPipe()
		require.NoError(t, err)
		p := launch(t, command)
		_, err = input.Write([]byte(strings.Join(lines[:100], "") + "x\n"))
		require.NoError(t, err)
		line, err := p.stdout.ReadString('\n')
		require.NoError(t, err, p.stderr)
		require.Equal(t, "record 101: the line is no JSON object\n", line) // it is in the middle now
		require.NoError(t, command.Process.Signal(syscall.SIGINT))
		for _, line := range lines[100:300] { // the reader is waiting for a line
			if _, err := input.Write([]byte(line)); err != nil {
				break // the process has ended
			}
		}
		require.NoError(t, ignoreClosed(input.Close()))
		_ = command.Wait()
		require.Equal(t, 1, command.ProcessState.ExitCode(), p.stderr)
		assert.Contains(t, p.stderr.String(), "example_server: interrupt signal received; run the import again to continue")
		found := regexp.MustCompile(`imported (\d+), already there 0, refused 1\n`).FindStringSubmatch(p.stderr.String())
		require.NotNil(t, found, p.stderr)
		imported, err := strconv.Atoi(found[1])
		require.NoError(t, err)
		assert.Less(t, imported, n)
		there := strings.Count(a.accounts("", "-group", "editors", "list"), "\n")
		assert.GreaterOrEqual(t, there, imported, "what was counted is there")

		r := runCommand(t, a.directory, importLines(n), "accounts", "-store", a.store, "import", "-")
		require.Zero(t, r.status, r.stderr)
		assert.Contains(t, r.stderr, fmt.Sprintf("imported %d, already there %d, refused 0\n", n-there, there))
		assert.Equal(t, n, strings.Count(a.accounts("", "-group", "editors", "list"), "\n"))
	})
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return err
}

// TestProgressIsALineNowAndThen: the log of a job that runs by night must not grow with the
// accounts.
func TestProgressIsALineNowAndThen(t *testing.T) {
	var to bytes.Buffer
	shown := newProgress(&to)
	for range 1000 {
		shown.show("too early")
	}
	shown.shown = shown.shown.Add(-11 * time.Second)
	shown.show("1000 accounts")
	shown.show("too early")
	shown.done("exported 2000 accounts")
	assert.Equal(t, "1000 accounts\nexported 2000 accounts\n", to.String())
}

// limitedWriter is a disk that is full after so many bytes.
type limitedWriter struct {
	written bytes.Buffer
	room    int
}

func (l *limitedWriter) Write(p []byte) (int, error) {
	n, _ := l.written.Write(p[:min(len(p), l.room-l.written.Len())])
	if n < len(p) {
		return n, errors.New("no space left on device")
	}
	return n, nil
}

// TestExportSaysWhereToContinue checks disks that are full at different places. Who does as the
// error says has every account once.
func TestExportSaysWhereToContinue(t *testing.T) {
	accounts, err := store.NewAccounts(store.Config{Backend: memstore.New()})
	require.NoError(t, err)
	for i := range 700 {
		name := fmt.Sprint("user-", i)
		_, err := accounts.Create(t.Context(), store.NewAccount{Name: name, Email: name + "@example.org", NoPassword: true})
		require.NoError(t, err)
	}
	export := func(to *limitedWriter, after string) error {
		c := &accountsCommand{accounts: accounts, after: after, stdout: to, stderr: new(bytes.Buffer)}
		return c.export(t.Context(), nil)
	}
	whole := &limitedWriter{room: 1 << 20}
	require.NoError(t, export(whole, ""))
	lines := strings.SplitAfter(whole.written.String(), "\n")
	page := len(strings.Join(lines[:500], ""))
	for _, room := range []int{0, 5000, page - 1, page, page + 1, page + 5000, whole.written.Len() - 1} {
		cut := &limitedWriter{room: room}
		err := export(cut, "")
		require.ErrorContains(t, err, "no space left")
		found := regexp.MustCompile(`drop what follows account ([0-9a-f]{24}) in the output, and export with -after ([0-9a-f]{24})$`).FindStringSubmatch(err.Error())
		if room < page {
			require.Nil(t, found, "%d: %v", room, err)
			require.ErrorContains(t, err, "export again")
			continue
		}
		require.NotNil(t, found, err)
		require.Equal(t, found[1], found[2])
		kept := ""
		for line := range strings.Lines(cut.written.String()) {
			kept += line
			if strings.Contains(line, found[1]) {
				break
			}
		}
		rest := &limitedWriter{room: 1 << 20}
		require.NoError(t, export(rest, found[2]))
		assert.True(t, whole.written.String() == kept+rest.written.String(), "room for %d bytes", room)
	}
}

// TestBackupAndRestore: the copy takes the place of the file, and nobody has to log in again.
func TestBackupAndRestore(t *testing.T) {
	directory, restored := t.TempDir(), t.TempDir()
	p := start(t, directory)
	tokens := p.login()
	require.Equal(t, 0, p.stop(syscall.SIGTERM))
	copied := filepath.Join(directory, "copy.db")
	r := runCommand(t, directory, "", "backup", copied)
	require.Zero(t, r.status, r.stderr)
	info, err := os.Stat(copied)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode(), "it holds hashes")
	whole, err := os.ReadFile(copied)
	require.NoError(t, err)

	for _, taken := range []string{copied, "oauthsv.db", "."} {
		assert.Contains(t, runCommand(t, directory, "", "backup", taken).last(t), taken+" is there already")
	}
	assert.Contains(t, runCommand(t, directory, "", "backup", "no/such/copy.db").last(t), "no such file or directory")
	now, err := os.ReadFile(copied)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(whole, now))
	left, err := filepath.Glob(filepath.Join(directory, "*.tmp"))
	require.NoError(t, err)
	assert.Empty(t, left)

	for from, to := range map[string]string{"copy.db": "oauthsv.db", "oauthsv.key": "oauthsv.key"} {
		require.NoError(t, os.Rename(filepath.Join(directory, from), filepath.Join(restored, to)))
	}
	p = start(t, restored)
	assert.NotContains(t, p.stderr.String(), "made account")
	p.refresh(tokens.RefreshToken)
	p.login()
}
