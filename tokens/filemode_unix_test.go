//go:build unix

package tokens_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

func ownerOf(t *testing.T, path string) (uid, gid int) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	status := info.Sys().(*syscall.Stat_t)
	return int(status.Uid), int(status.Gid)
}

// changes holds each method that replaces a key file.
var changes = map[string]func(*tokens.KeyFile, *tokens.Key) error{
	"add":      func(f *tokens.KeyFile, _ *tokens.Key) error { _, err := f.Add(tokens.EdDSA); return err },
	"activate": func(f *tokens.KeyFile, key *tokens.Key) error { return f.Activate(key.ID(), time.Hour) },
	"remove":   func(f *tokens.KeyFile, key *tokens.Key) error { return f.Remove(key.ID()) },
}

func TestKeyFileKeepsItsMode(t *testing.T) {
	for name, change := range changes {
		for _, mode := range []os.FileMode{0o600, 0o640, 0o440, 0o644} {
			t.Run(name+" "+mode.String(), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "test.key")
				require.NoError(t, os.WriteFile(path, secret, 0o600))
				file := tokens.KeyFile{Path: path}
				added, err := file.Add(tokens.HS512)
				require.NoError(t, err)
				require.NoError(t, os.Chmod(path, mode))
				require.NoError(t, change(&file, added))
				info, err := os.Stat(path)
				require.NoError(t, err)
				assert.Equal(t, mode, info.Mode())
			})
		}
	}
}

// TestKeyFileKeepsItsOwner: after root has changed the keys, the service can still read
// them as its own user.
func TestKeyFileKeepsItsOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	for name, change := range changes {
		for _, owner := range [][]int{{12345, 23456}, {12345, os.Getgid()}, {os.Getuid(), 23456}} {
			t.Run(fmt.Sprint(name, owner), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "test.key")
				require.NoError(t, os.WriteFile(path, secret, 0o600))
				file := tokens.KeyFile{Path: path}
				added, err := file.Add(tokens.HS512)
				require.NoError(t, err)
				require.NoError(t, os.Chown(path, owner[0], owner[1]))
				require.NoError(t, os.Chmod(path, 0o640))
				require.NoError(t, change(&file, added))
				uid, gid := ownerOf(t, path)
				assert.Equal(t, owner, []int{uid, gid})
				info, err := os.Stat(path)
				require.NoError(t, err)
				assert.Equal(t, os.FileMode(0o640), info.Mode())
			})
		}
	}
}

// TestKeyFileOfAnotherOwnerStays: a user who cannot keep the owner of the file does not
// replace it. The test runs itself again as a user without rights.
func TestKeyFileOfAnotherOwnerStays(t *testing.T) {
	const variable = "OAUTHSV_TEST_KEY_FILE"
	if path := os.Getenv(variable); path != "" {
		file := tokens.KeyFile{Path: path}
		_, err := file.Add(tokens.EdDSA)
		require.ErrorIs(t, err, os.ErrPermission)
		assert.ErrorContains(t, err, path)
		assert.ErrorContains(t, err, "owner")
		return
	}
	if os.Getuid() != 0 {
		t.Skip("only root may become another user")
	}
	directory := t.TempDir()
	for _, path := range []string{directory, filepath.Dir(directory)} {
		require.NoError(t, os.Chmod(path, 0o777))
	}
	path, binary := filepath.Join(directory, "test.key"), filepath.Join(directory, "test")
	require.NoError(t, os.WriteFile(path, secret, 0o600))
	require.NoError(t, os.Chmod(path, 0o644))
	self, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, self, 0o755))
	again := exec.Command(binary, "-test.run", "^"+t.Name()+"$")
	again.Dir, again.Env = directory, []string{variable + "=" + path}
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 23456}}
	output, err := again.CombinedOutput()
	require.NoError(t, err, string(output))

	uid, _ := ownerOf(t, path)
	assert.Zero(t, uid)
	left, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, secret, left)
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "no temporary file remains")
}

func TestKeyFileFollowsLinks(t *testing.T) {
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			directory, elsewhere := t.TempDir(), t.TempDir()
			first, second, target := filepath.Join(directory, "test.key"), filepath.Join(directory, "second"), filepath.Join(elsewhere, "real.key")
			require.NoError(t, os.WriteFile(target, secret, 0o600))
			require.NoError(t, os.Symlink("second", first))
			require.NoError(t, os.Symlink(target, second))
			file := tokens.KeyFile{Path: first}
			added, err := file.Add(tokens.HS512)
			require.NoError(t, err)
			require.NoError(t, change(&file, added))
			for _, link := range []string{first, second} {
				info, err := os.Lstat(link)
				require.NoError(t, err)
				assert.NotZero(t, info.Mode()&os.ModeSymlink, "a link stays a link")
			}
			through, err := os.ReadFile(first)
			require.NoError(t, err)
			changed, err := os.ReadFile(target)
			require.NoError(t, err)
			assert.Equal(t, through, changed)
			assert.Equal(t, name != "remove", len(keysWithID(t, target, added.ID())) == 1, "the file at the end of the links changes")
			for _, directory := range []string{directory, elsewhere} {
				entries, err := os.ReadDir(directory)
				require.NoError(t, err)
				assert.LessOrEqual(t, len(entries), 2, "no temporary file remains")
			}
		})
	}
}

func keysWithID(t *testing.T, path, id string) (found []*tokens.Key) {
	t.Helper()
	keys, err := tokens.LoadKeys(path)
	require.NoError(t, err)
	for _, key := range keys {
		if key.ID() == id {
			found = append(found, key)
		}
	}
	return found
}

func TestKeyFileRefusesWhatItCannotReplace(t *testing.T) {
	directory := t.TempDir()
	dangling := filepath.Join(directory, "dangling")
	require.NoError(t, os.Symlink("nowhere", dangling))
	loop := filepath.Join(directory, "loop")
	require.NoError(t, os.Symlink("loop", loop))
	for _, path := range []string{dangling, loop, directory, filepath.Join(directory, "no", "directory.key")} {
		file := tokens.KeyFile{Path: path}
		_, err := file.Add(tokens.EdDSA)
		require.Error(t, err, path)
		assert.ErrorContains(t, err, path)
	}
	entries, err := os.ReadDir(directory)
	require.NoError(t, err)
	assert.Len(t, entries, 2)
}

// TestExposedKeyFileIsWarnedOf: who can read a key that signs can sign tokens, and so can
// who can change any key file. A public key may be read by everybody.
func TestExposedKeyFileIsWarnedOf(t *testing.T) {
	directory := t.TempDir()
	path, link := filepath.Join(directory, "test.key"), filepath.Join(directory, "link.key")
	require.NoError(t, os.Symlink(path, link))
	ring, err := tokens.NewKeyring(generate(t, tokens.EdDSA))
	require.NoError(t, err)
	public, err := ring.PublicJWKSet(epoch)
	require.NoError(t, err)
	const read, change = "others can read the key file", "others can change the key file"

	for kind, content := range map[string][]byte{"signs": secret, "public": public} {
		for mode, want := range map[os.FileMode]string{
			0o600: "", 0o400: "", 0o640: "", 0o440: "", 0o650: "", 0o611: "",
			0o644: "r", 0o604: "r", 0o602: "w", 0o660: "w", 0o620: "w", 0o666: "rw", 0o777: "rw",
		} {
			require.NoError(t, os.WriteFile(path, content, 0o600))
			require.NoError(t, os.Chmod(path, mode))
			for _, verifyOnly := range []bool{false, true} {
				if kind == "public" && !verifyOnly {
					continue
				}
				for _, name := range []string{path, link} {
					var log bytes.Buffer
					check := func(when string) {
						t.Helper()
						what := []any{"%s, %s, %v: %s", when, kind, mode, &log}
						wantRead := kind == "signs" && strings.Contains(want, "r")
						assert.Equal(t, wantRead, strings.Contains(log.String(), `level=WARN msg="`+read), what...)
						assert.Equal(t, strings.Contains(want, "w"), strings.Contains(log.String(), `level=WARN msg="`+change), what...)
						if log.Len() > 0 {
							assert.Contains(t, log.String(), name)
							assert.Contains(t, log.String(), mode.String())
						}
						log.Reset()
					}
					file := tokens.KeyFile{Path: name, VerifyOnly: verifyOnly, Logger: slog.New(slog.NewTextHandler(&log, nil))}
					ring, err := tokens.OpenKeyring(file)
					require.NoError(t, err)
					check("open")
					_, err = ring.Reload()
					require.NoError(t, err)
					check("reload")
					if kind == "signs" {
						require.NoError(t, file.Activate(ring.Active().ID(), time.Hour))
						check("change")
					}
				}
			}
		}
	}
}
