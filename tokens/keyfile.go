package tokens

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// LoadKeys reads a key file with [ParseKeys]. The error names the file and
// matches [fs.ErrNotExist] where there is none.
func LoadKeys(path string) ([]*Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokens: reading the key file: %w", err)
	}
	keys, err := ParseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return keys, nil
}

// KeyFile is a file of keys. [OpenKeyring] reads it for a server, and the methods
// change it for an operator: keys are added, become active, and are retired. A server
// takes a change over with [Keyring.Reload].
//
// To rotate without downtime: Add, let every server reload, Activate, let every
// server reload again. Tokens of the old key stay good until they expire.
//
// A change replaces the file as a whole, as a JWK set, so that a reader finds the old
// keys or the new ones. The new file has the owner, the group and the mode of the old
// one; where they cannot be kept, the old file stays and the method returns an error.
// Where Path is a symbolic link, the file it leads to is replaced and the link stays.
// A change is on the disk when its method returns.
//
// Changes by two processes at once are not kept apart: let one operator do it. A
// KeyFile is not safe for concurrent use.
type KeyFile struct {
	// Path names the file. [ParseKeys] says what it can hold. Required.
	Path string
	// Algorithm is that of the key that OpenKeyring makes where there is no file.
	// The default is HS512.
	Algorithm Algorithm
	// VerifyOnly is for a service that verifies tokens and does not sign any: the
	// file may hold public keys alone, and OpenKeyring does not make it.
	VerifyOnly bool
	// Logger is told of a new file, and warned of a file that others can read or
	// change: they can sign tokens. The default is slog.Default().
	Logger *slog.Logger
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

func (f *KeyFile) logger() *slog.Logger { return cmp.Or(f.Logger, slog.Default()) }

func (f *KeyFile) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

// warnOfMode is no reason to stop: the keys are as good as before, and users are
// logged in.
func (f *KeyFile) warnOfMode() {
	info, err := os.Stat(f.Path)
	if err == nil && isExposed(info.Mode()) {
		f.logger().Warn("others can read or change the key file, and so sign tokens; change its mode with: chmod g-w,o-rwx FILE", "file", f.Path, "mode", info.Mode().Perm())
	}
}

// open reads the file, which it makes if there is none.
func (f *KeyFile) open() (keys []*Key, created bool, err error) {
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
		return nil, false, fmt.Errorf("tokens: making the key file: %w", err)
	}
	keys, err = LoadKeys(f.Path)
	return keys, created, err
}

// Add makes a key for the algorithm, in the state [Next]. Where there is no file,
// Add makes one of mode 0600, and the key in it is [Active].
func (f *KeyFile) Add(algorithm Algorithm) (*Key, error) {
	added, err := GenerateKey(algorithm)
	if err != nil {
		return nil, err
	}
	// A link that leads nowhere is a mistake: it is no place for a new file.
	if _, err := os.Lstat(f.Path); errors.Is(err, fs.ErrNotExist) {
		added.state = Active
		content, err := encodeKeys([]*Key{added})
		if err != nil {
			return nil, err
		}
		created, err := createFile(f.Path, content)
		if err != nil {
			return nil, fmt.Errorf("tokens: making the key file: %w", err)
		}
		if created {
			return added, nil
		}
	}
	added.state = Next
	err = f.change(func(keys []*Key) ([]*Key, error) { return append(keys, added), nil })
	if err != nil {
		return nil, err
	}
	return added, nil
}

// Activate makes the key with the id the active one and retires the one that was:
// it verifies for as long as tokens may live that it has signed, which is what
// lifetime must say, the longest time between two refreshes.
func (f *KeyFile) Activate(id string, lifetime time.Duration) error {
	return f.change(func(keys []*Key) ([]*Key, error) {
		chosen := find(keys, id)
		switch {
		case chosen == nil:
			return nil, keyError("the file has no key %q", id)
		case !chosen.CanSign():
			return nil, keyError("%v cannot sign", chosen)
		}
		for _, key := range keys {
			if key.state == Active && key != chosen {
				f.retire(key, lifetime)
			}
		}
		chosen.state, chosen.until = Active, time.Time{}
		return keys, nil
	})
}

// Retire retires a key that is not the active one, as [KeyFile.Activate] does with
// the active one. With a lifetime of 0 the key is removed at once, and what it has
// signed is refused: for a key that has leaked.
func (f *KeyFile) Retire(id string, lifetime time.Duration) error {
	return f.change(func(keys []*Key) ([]*Key, error) {
		chosen := find(keys, id)
		switch {
		case chosen == nil:
			return nil, keyError("the file has no key %q", id)
		case chosen.state == Active:
			return nil, keyError("%v is active: activate another key first", chosen)
		case lifetime == 0:
			return slices.DeleteFunc(keys, func(k *Key) bool { return k == chosen }), nil
		}
		f.retire(chosen, lifetime)
		return keys, nil
	})
}

func find(keys []*Key, id string) *Key {
	for _, key := range keys {
		if key.id == id {
			return key
		}
	}
	return nil
}

func (f *KeyFile) retire(key *Key, lifetime time.Duration) {
	key.state, key.until = Retired, f.now().Add(lifetime)
}

// change reads the keys, which are nobody else's yet, and writes them back. What
// has verified its last token goes.
func (f *KeyFile) change(change func([]*Key) ([]*Key, error)) error {
	f.warnOfMode()
	path, err := filepath.EvalSymlinks(f.Path)
	if err != nil {
		return fmt.Errorf("tokens: reading the key file %s: %w", f.Path, err)
	}
	old, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("tokens: reading the key file: %w", err)
	}
	if !old.Mode().IsRegular() {
		return fmt.Errorf("key file %s: not a regular file, and so it cannot be replaced", f.Path)
	}
	keys, err := LoadKeys(path)
	if err != nil {
		return err
	}
	before, err := newKeySet(keys)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if key.state == "" && key.CanSign() {
			key.state = Retired
		}
	}
	if before.active != nil {
		before.active.state = Active
	}
	if keys, err = change(keys); err != nil {
		return fmt.Errorf("key file %s: %w", f.Path, err)
	}
	keys = slices.DeleteFunc(keys, func(k *Key) bool { return k.over(f.now()) })
	if len(keys) == 0 {
		return fmt.Errorf("key file %s: %w", f.Path, keyError("no key would be left in the file: add another first"))
	}
	content, err := encodeKeys(keys)
	if err != nil {
		return err
	}
	if err := replaceFile(path, old, content); err != nil {
		return fmt.Errorf("tokens: writing the key file %s: %w", f.Path, err)
	}
	return nil
}

// encodeKeys is the content of a key file.
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
