package tokens

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxFileBytes bounds a key file. It is far more than the largest JWK set needs.
const maxFileBytes = 1 << 20

// LoadKeys reads the keys in a file, as [ParseKeys] does. The file can be a pipe. The
// error names the file, and matches [fs.ErrNotExist] if there is no file. It matches
// [ErrKey] if the file is a directory or is longer than 1 MiB.
func LoadKeys(path string) ([]*Key, error) {
	data, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return keys, nil
}

func readKeyFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tokens: reading the key file: %w", err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("key file %s: %w", path, keyError("it is a directory"))
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("tokens: reading the key file: %w", err)
	}
	if len(data) > maxFileBytes {
		return nil, fmt.Errorf("key file %s: %w", path, keyError("it is longer than %d bytes", maxFileBytes))
	}
	return data, nil
}

// KeyFile is a file of keys. A server opens it with [OpenKeyring], and an operator
// changes it with the methods below. The server notices a change at the next
// [Keyring.Reload].
//
// To rotate keys without downtime:
//  1. Call Add, and let every server reload. All servers now know the new key.
//  2. Call Activate, and let every server reload. All servers now sign with the new key.
//
// Tokens of the old key stay valid until they expire.
//
// A change replaces the whole file with a JWK set, so a reader finds either the old
// keys or the new ones. When a method returns without an error, the change is on disk.
// The new file has the owner, the group and the mode of the old one. If they cannot be
// kept, the method returns an error and the old file stays. If Path is a symbolic
// link, the link stays and the file that it points to is replaced.
//
// If two processes change the file at once, one change can be lost. So let one operator
// change it. A KeyFile is not safe for concurrent use.
type KeyFile struct {
	// Path is the path of the file. [ParseKeys] says what it can hold. Required.
	Path string
	// Algorithm is the algorithm of the key that OpenKeyring makes if there is no
	// file. If there is one whose active key has another algorithm, OpenKeyring
	// leaves it as it is and logs a warning. The default is HS512.
	Algorithm Algorithm
	// VerifyOnly is for a service that verifies tokens and signs none. The file may
	// then hold only public keys, and OpenKeyring does not make it. The default is
	// false.
	VerifyOnly bool
	// Logger receives a line when OpenKeyring makes the file. It receives a warning
	// if other users can change the file, or can read a key in it that signs, and if
	// the choice of an algorithm has no effect or ends the use of public keys. The
	// default is slog.Default().
	Logger *slog.Logger
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

var errNoPath = errors.New("tokens: key file: Path is required")

func (f *KeyFile) logger() *slog.Logger { return cmp.Or(f.Logger, slog.Default()) }

func (f *KeyFile) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

// warnOfMode warns if other users can change the file, or can read a key in it that
// signs. It only warns: a server that stopped would end the work of users who are
// logged in.
func (f *KeyFile) warnOfMode(keys []*Key) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return
	}
	mode := info.Mode().Perm()
	if othersCanRead(mode) && slices.ContainsFunc(keys, (*Key).CanSign) {
		f.logger().Warn("others can read the key file, so they can sign tokens; change its mode with: chmod g-w,o-rwx FILE", "file", f.Path, "mode", mode)
	}
	if othersCanWrite(mode) {
		f.logger().Warn("others can change the key file, so they can put a key of their own into it; change its mode with: chmod go-w FILE", "file", f.Path, "mode", mode)
	}
}

// open reads the file. If there is none, it makes one first, unless VerifyOnly is set.
func (f *KeyFile) open() (keys []*Key, created bool, err error) {
	if f.Path == "" {
		return nil, false, errNoPath
	}
	keys, err = LoadKeys(f.Path)
	if f.VerifyOnly || !errors.Is(err, fs.ErrNotExist) {
		return keys, false, err
	}
	key, err := GenerateKey(cmp.Or(f.Algorithm, HS512))
	if err != nil {
		return nil, false, err
	}
	text, err := key.PrivateJWK()
	if err != nil {
		return nil, false, err
	}
	created, err = createFile(f.Path, append(text, '\n'))
	if err != nil {
		return nil, false, fmt.Errorf("tokens: making the key file %s: %w", f.Path, err)
	}
	keys, err = LoadKeys(f.Path)
	return keys, created, err
}

// encodeKeys returns the content of a key file.
func encodeKeys(keys []*Key) ([]byte, error) {
	set := struct {
		Keys []jsontext.Value `json:"keys"`
	}{}
	for _, key := range keys {
		half := key.private
		if half == nil {
			half = key.public
		}
		text, err := key.encodeJWK(half)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, text)
	}
	text, err := json.Marshal(set, jsontext.WithIndent("  "))
	return append(text, '\n'), err
}
