package tokens

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Add makes a key for the algorithm and adds it to the file in the state [Next]. If
// there is no file, Add makes one with mode 0600, and the key in it is [Active]. If
// algorithm is empty, it is that of the active key, or HS512 if there is no file.
func (f *KeyFile) Add(algorithm Algorithm) (*Key, error) {
	if f.Path == "" {
		return nil, errNoPath
	}
	// Lstat finds a link that points nowhere. That is a mistake, so no file is made.
	if _, err := os.Lstat(f.Path); errors.Is(err, fs.ErrNotExist) {
		added, err := GenerateKey(cmp.Or(algorithm, HS512))
		if err != nil {
			return nil, err
		}
		added.state = Active
		content, err := encodeKeys([]*Key{added})
		if err != nil {
			return nil, err
		}
		created, err := createFile(f.Path, content)
		if err != nil {
			return nil, fmt.Errorf("tokens: making the key file %s: %w", f.Path, err)
		}
		if created {
			return added, nil
		}
	}
	var added *Key
	err := f.change(func(keys []*Key) ([]*Key, error) {
		if algorithm == "" {
			active := findActive(keys)
			if active == nil {
				return nil, keyError("no key signs, so the algorithm of a new one must be given")
			}
			algorithm = active.algorithm
		}
		var err error
		if added, err = GenerateKey(algorithm); err != nil {
			return nil, err
		}
		added.state = Next
		return append(keys, added), nil
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

// Activate makes the key with the id the active one, and retires the key that was
// active before. The retired key verifies for the given lifetime and then no more. Pass
// the longest lifetime of your tokens, which is that of a refresh token: 30*24*time.Hour
// for refresh tokens that live 30 days.
//
// Logger receives a warning if the key is an HS512 key and the one before was not.
// Services that fetch the public keys then cannot verify the new tokens.
func (f *KeyFile) Activate(id string, lifetime time.Duration) error {
	var before, chosen *Key
	err := f.change(func(keys []*Key) ([]*Key, error) {
		before, chosen = findActive(keys), findKey(keys, id)
		switch {
		case chosen == nil:
			return nil, keyError("the file has no key %q", id)
		case !chosen.CanSign():
			return nil, keyError("%v cannot sign", chosen)
		}
		if before != nil && before != chosen {
			f.retire(before, lifetime)
		}
		chosen.state, chosen.until = Active, time.Time{}
		return keys, nil
	})
	if err == nil && before != nil && before.algorithm != HS512 && chosen.algorithm == HS512 {
		f.logger().Warn("services that fetch the public keys can no longer verify new tokens, because the secret of an HS512 key is not published", "file", f.Path, "key", chosen.id)
	}
	return err
}

// Retire retires a key that is not active. The key verifies for the given lifetime,
// which must be positive, and then no more.
func (f *KeyFile) Retire(id string, lifetime time.Duration) error {
	return f.change(func(keys []*Key) ([]*Key, error) {
		chosen, err := findInactive(keys, id)
		if err == nil && lifetime <= 0 {
			err = keyError("the lifetime of a retired key must be positive")
		}
		if err != nil {
			return nil, err
		}
		f.retire(chosen, lifetime)
		return keys, nil
	})
}

// Remove removes a key that is not active. It is for a key that has leaked: a server
// refuses its tokens after the next reload.
func (f *KeyFile) Remove(id string) error {
	return f.change(func(keys []*Key) ([]*Key, error) {
		chosen, err := findInactive(keys, id)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(keys, func(k *Key) bool { return k == chosen }), nil
	})
}

func findInactive(keys []*Key, id string) (*Key, error) {
	chosen := findKey(keys, id)
	switch {
	case chosen == nil:
		return nil, keyError("the file has no key %q", id)
	case chosen.state == Active:
		return nil, keyError("%v is active: activate another key first", chosen)
	}
	return chosen, nil
}

func findKey(keys []*Key, id string) *Key {
	for _, key := range keys {
		if key.id == id {
			return key
		}
	}
	return nil
}

// findActive returns the key that signs, or nil. It is for the keys that change passes
// on, which all have a state.
func findActive(keys []*Key) *Key {
	for _, key := range keys {
		if key.state == Active && key.CanSign() {
			return key
		}
	}
	return nil
}

func (f *KeyFile) retire(key *Key, lifetime time.Duration) {
	key.state, key.until = Retired, f.now().Add(lifetime)
}

// change reads the keys, applies edit to them, and replaces the file. It drops retired
// keys that have reached their end. edit may modify the keys: nobody else holds them.
func (f *KeyFile) change(edit func([]*Key) ([]*Key, error)) error {
	if f.Path == "" {
		return errNoPath
	}
	path, err := filepath.EvalSymlinks(f.Path)
	if err != nil {
		return fmt.Errorf("tokens: reading the key file %s: %w", f.Path, err)
	}
	old, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("tokens: reading the key file: %w", err)
	}
	if !old.Mode().IsRegular() {
		return fmt.Errorf("key file %s: cannot replace it: not a regular file", f.Path)
	}
	keys, err := LoadKeys(path)
	if err != nil {
		return err
	}
	f.warnOfMode(keys)
	before, err := newKeySet(keys)
	if err != nil {
		return err
	}
	// From now on the file names the state of each key that can sign.
	for _, key := range keys {
		if key.state == "" && key.CanSign() {
			key.state = Retired
		}
	}
	if before.active != nil {
		before.active.state = Active
	}
	if keys, err = edit(keys); err != nil {
		return fmt.Errorf("key file %s: %w", f.Path, err)
	}
	keys = slices.DeleteFunc(keys, func(k *Key) bool { return k.hasEnded(f.now()) })
	if len(keys) == 0 {
		return fmt.Errorf("key file %s: %w", f.Path, keyError("the file would hold no key: add another one first"))
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
