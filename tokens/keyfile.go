package tokens

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
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

// LoadOrCreateKeys reads a key file; where there is none it first makes one, of
// mode 0600, with a new key for the algorithm. Of several processes that do so
// at once one makes the file and all of them read it. created tells whether it
// was this one.
func LoadOrCreateKeys(path string, algorithm Algorithm) (keys []*Key, created bool, err error) {
	keys, err = LoadKeys(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return keys, false, err
	}
	key, err := GenerateKey(algorithm)
	if err != nil {
		return nil, false, err
	}
	text, err := key.PrivateJWK()
	if err != nil {
		return nil, false, err
	}
	created, err = createFile(path, append(text, '\n'))
	if err != nil {
		return nil, false, fmt.Errorf("tokens: making the key file: %w", err)
	}
	keys, err = LoadKeys(path)
	return keys, created, err
}

// ErrKeyFileMode: others than the owner and the group can read or change a key
// file.
var ErrKeyFileMode = errors.New("tokens: others can read or change the key file")

// CheckKeyFileMode looks at the mode of a key file. Who can read the file can sign
// tokens. It returns nil if the owner alone can write the file and nobody beyond
// its group can read it, else an error that matches [ErrKeyFileMode], names the
// file and says what to do. [LoadKeys] reads such a file all the same: it is for
// the caller to log the error as a warning, or to stop.
//
// It follows symbolic links. The error matches [fs.ErrNotExist] where there is no
// file. On Windows, whose files have no such mode, it finds nothing.
func CheckKeyFileMode(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("tokens: looking at the key file: %w", err)
	}
	if isExposed(info.Mode()) {
		return fmt.Errorf("%w: %s has the mode %v; change it with: chmod g-w,o-rwx %[2]s", ErrKeyFileMode, path, info.Mode().Perm())
	}
	return nil
}

// KeyFile is a key file that is changed: keys are added, become active, and are
// retired. The file is replaced as a whole, as a JWK set, so that a reader finds
// the old keys or the new ones. A server takes a change over with
// [Keyring.Replace].
//
// The new file has the owner, the group and the mode of the old one. An error
// leaves the old file in its place if they cannot be kept. Where Path is a symbolic
// link, the file it leads to is replaced and the link stays. A change is on the
// disk when its method returns.
//
// Changes by two processes at once are not kept apart: let one operator do it. A
// KeyFile is not safe for concurrent use.
//
// To rotate without downtime: Add, let every server read the file, Activate, let
// every server read it again. Tokens of the old key stay good until they expire.
type KeyFile struct {
	// Path names the file, which [LoadKeys] can read.
	Path string
	// Now is the clock, time.Now by default.
	Now func() time.Time
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

func (f *KeyFile) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

func (f *KeyFile) retire(key *Key, lifetime time.Duration) {
	key.state, key.until = Retired, f.now().Add(lifetime)
}

// change reads the keys, which are nobody else's yet, and writes them back. What
// has verified its last token goes.
func (f *KeyFile) change(change func([]*Key) ([]*Key, error)) error {
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
		Keys []json.RawMessage `json:"keys"`
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
	text, err := json.MarshalIndent(set, "", "  ")
	return append(text, '\n'), err
}
