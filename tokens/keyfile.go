package tokens

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// createFile makes path with the whole content or not at all, and leaves a file
// that is there already as it is.
func createFile(path string, content []byte) (created bool, err error) {
	temporary, err := writeTemporary(path, content)
	if err != nil {
		return false, err
	}
	defer os.Remove(temporary)
	// Unlike a rename, a link never replaces what another process made meanwhile.
	if err = os.Link(temporary, path); errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// KeyFile is a key file that is changed: keys are added, become active, and are
// retired. The file is replaced as a whole, as a JWK set of mode 0600, so that a
// reader finds the old keys or the new ones. Changes by two processes at once are
// not kept apart: let one operator do it. A server takes a change over with
// [Keyring.Replace].
//
// To rotate without downtime: Add, let every server read the file, Activate, let
// every server read it again. Tokens of the old key stay good until they expire.
type KeyFile struct {
	// Path names the file, which [LoadKeys] can read.
	Path string
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Add makes a key for the algorithm, in the state [Next].
func (f *KeyFile) Add(algorithm Algorithm) (*Key, error) {
	added, err := GenerateKey(algorithm)
	if err != nil {
		return nil, err
	}
	added.state = Next
	return added, f.change(func(keys []*Key) ([]*Key, error) { return append(keys, added), nil })
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
	keys, err := LoadKeys(f.Path)
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
			return err
		}
		set.Keys = append(set.Keys, text)
	}
	text, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return err
	}
	if err := replaceFile(f.Path, append(text, '\n')); err != nil {
		return fmt.Errorf("tokens: writing the key file: %w", err)
	}
	return nil
}

// replaceFile puts the whole content in the place of the old or changes nothing.
func replaceFile(path string, content []byte) error {
	temporary, err := writeTemporary(path, content)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	return os.Rename(temporary, path)
}

// writeTemporary writes a file beside path, of mode 0600, and syncs it to disk.
func writeTemporary(path string, content []byte) (temporary string, err error) {
	temporary = path + "." + rand.Text()
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		os.Remove(temporary)
		return "", err
	}
	return temporary, nil
}
