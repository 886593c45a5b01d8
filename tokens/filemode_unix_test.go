//go:build unix

package tokens_test

import (
	"bytes"
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
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "test.key")
			require.NoError(t, os.WriteFile(path, secret, 0o600))
			file := tokens.KeyFile{Path: path}
			added, err := file.Add(tokens.HS512)
			require.NoError(t, err)
			require.NoError(t, os.Chown(path, 12345, 23456))
			require.NoError(t, os.Chmod(path, 0o640))
			require.NoError(t, change(&file, added))
			uid, gid := ownerOf(t, path)
			assert.Equal(t, []int{12345, 23456}, []int{uid, gid})
			info, err := os.Stat(path)
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o640), info.Mode())
		})
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

func TestExposedKeyFileIsWarnedOf(t *testing.T) {
	directory := t.TempDir()
	path, link := filepath.Join(directory, "test.key"), filepath.Join(directory, "link.key")
	require.NoError(t, os.WriteFile(path, secret, 0o600))
	require.NoError(t, os.Symlink(path, link))
	for mode, exposed := range map[os.FileMode]bool{
		0o600: false, 0o400: false, 0o640: false, 0o440: false, 0o650: false, 0o611: false,
		0o644: true, 0o604: true, 0o602: true, 0o660: true, 0o620: true, 0o666: true, 0o777: true,
	} {
		require.NoError(t, os.Chmod(path, mode))
		for _, name := range []string{path, link} {
			var log bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&log, nil))
			ring, err := tokens.OpenKeyring(tokens.KeyFile{Path: name, Logger: logger})
			require.NoError(t, err)
			warned := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), name) && strings.Contains(log.String(), mode.String())
			assert.Equal(t, exposed, warned, "opening, %v: %s", mode, &log)
			for when, action := range map[string]func() error{
				"reload": func() error { _, err := ring.Reload(); return err },
				"change": func() error {
					return (&tokens.KeyFile{Path: name, Logger: logger}).Activate(ring.Active().ID(), time.Hour)
				},
			} {
				log.Reset()
				require.NoError(t, action())
				assert.Equal(t, exposed, strings.Contains(log.String(), "others can read"), "%s, %v: %s", when, mode, &log)
			}
		}
	}
}
