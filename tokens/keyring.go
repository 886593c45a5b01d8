package tokens

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Keyring holds the keys in force: one that signs, and any number that verify. An
// [Issuer] and its [Verifier] share one, so both see a change at the same moment. Make a
// Keyring with [OpenKeyring] or [NewKeyring]. The zero value holds no key. A Keyring is
// safe for concurrent use.
type Keyring struct {
	current atomic.Pointer[keySet] // nil if there was never a key; read it with set

	file      *KeyFile // nil if the keyring was not opened from a file
	created   bool
	reloading sync.Mutex // held during Reload
}

var noKeys keySet

// set returns the keys in force.
func (r *Keyring) set() *keySet {
	if set := r.current.Load(); set != nil {
		return set
	}
	return &noKeys
}

// NewKeyring makes a keyring of the keys. The key in the state [Active] signs. If no key
// is Active, the first key that can sign and has no state signs. All other keys without
// a state only verify.
//
// The error matches [ErrKey] if there is no key, if two keys have the same id, or if two
// are active.
func NewKeyring(keys ...*Key) (*Keyring, error) {
	ring := new(Keyring)
	if err := ring.Replace(keys...); err != nil {
		return nil, err
	}
	return ring, nil
}

// Replace replaces all keys, under the rules of [NewKeyring]. From then on, tokens of a
// removed key are refused. If Replace returns an error, the old keys stay in force.
func (r *Keyring) Replace(keys ...*Key) error {
	if len(keys) == 0 {
		return keyError("a keyring needs at least one key")
	}
	set, err := newKeySet(keys)
	if err != nil {
		return err
	}
	r.current.Store(set)
	return nil
}

// OpenKeyring makes a keyring of the keys in a file. If there is no file, it makes one
// with mode 0600 and a new key. If several processes do this at once, one of them makes
// the file and all of them read it.
//
// The error names the file. It matches [ErrKey] if no key in the file can sign, or if
// [ParseKeys] refuses the file.
func OpenKeyring(file KeyFile) (*Keyring, error) {
	r := &Keyring{file: &file}
	keys, created, err := file.open()
	if err != nil {
		return nil, err
	}
	r.created = created
	if created {
		file.logger().Info("made a new signing key", "file", file.Path)
	}
	if err := r.replaceFromFile(keys); err != nil {
		return nil, err
	}
	if active := r.Active(); active != nil && file.Algorithm != "" && file.Algorithm != active.algorithm {
		file.logger().Warn(fmt.Sprintf("the key file exists and its active key is %s; Algorithm is only for a new file", active.algorithm), "file", file.Path)
	}
	return r, nil
}

// Created reports whether [OpenKeyring] made the key file.
func (r *Keyring) Created() bool { return r.created }

// KeyChanges says what has changed in a keyring. Each line describes a key as
// [Keyring.Describe] does. If the state of a key has changed, its old line is in Removed and
// its new line is in Added.
type KeyChanges struct {
	Added, Removed []string
}

// Reload reads the key file of [OpenKeyring] again and puts its keys in force. Call it
// after an operator has changed the file, for example on SIGHUP. If the file is missing
// or broken, or if no key in it can sign, Reload returns an error and the old keys stay
// in force.
func (r *Keyring) Reload() (KeyChanges, error) {
	if r.file == nil {
		return KeyChanges{}, keyError("the keyring was not opened from a file")
	}
	r.reloading.Lock()
	defer r.reloading.Unlock()
	keys, err := LoadKeys(r.file.Path)
	if err != nil {
		return KeyChanges{}, err
	}
	before := r.Describe()
	if err := r.replaceFromFile(keys); err != nil {
		return KeyChanges{}, err
	}
	after := r.Describe()
	return KeyChanges{Added: difference(after, before), Removed: difference(before, after)}, nil
}

func (r *Keyring) replaceFromFile(keys []*Key) error {
	r.file.warnOfMode(keys)
	set, err := newKeySet(keys)
	if err == nil && set.active == nil && !r.file.VerifyOnly {
		err = keyError("no key in it can sign: it needs a private key or a secret")
	}
	if err != nil {
		return fmt.Errorf("key file %s: %w", r.file.Path, err)
	}
	r.current.Store(set)
	return nil
}

// difference returns the lines that are not among the others.
func difference(lines, others []string) (rest []string) {
	for _, line := range lines {
		if !slices.Contains(others, line) {
			rest = append(rest, line)
		}
	}
	return rest
}

// Describe returns a line for each key with its id, its algorithm and its state. If a
// retired key has a [Key.VerifyUntil], the line names that time. The word "verifies"
// marks a key without a state that only verifies. For example:
//
//	login-0 HS512 retired until 2026-01-31T12:00:00Z
//	login-1 EdDSA active
//	login-2 ES256 verifies
func (r *Keyring) Describe() []string {
	set := r.set()
	lines := make([]string, len(set.keys))
	for i, key := range set.keys {
		state := cmp.Or(string(key.state), "verifies")
		if key == set.active {
			state = string(Active)
		}
		lines[i] = fmt.Sprintf("%s %s %s", key.id, key.algorithm, state)
		if !key.until.IsZero() {
			lines[i] += " until " + key.until.UTC().Format(time.RFC3339)
		}
	}
	return lines
}

// Active returns the key that signs, or nil if no key can.
func (r *Keyring) Active() *Key { return r.set().active }

// Keys returns all keys, in the order in which they were given.
func (r *Keyring) Keys() []*Key { return slices.Clone(r.set().keys) }

// HasPublicKey reports whether the JWK set of [Keyring.PublicJWKSet] holds any key.
func (r *Keyring) HasPublicKey(now time.Time) bool {
	return slices.ContainsFunc(r.set().keys, func(key *Key) bool { return key.isPublished(now) })
}

// PublicJWKSet returns the JWK set (RFC 7517) with which others can verify tokens. It holds
// the public half of each key. now is the current time: a retired key that has reached
// its [Key.VerifyUntil] is left out. The set never holds a shared secret, so it is empty
// if all keys are HS512 keys.
func (r *Keyring) PublicJWKSet(now time.Time) ([]byte, error) {
	set := struct {
		Keys []jsontext.Value `json:"keys"`
	}{[]jsontext.Value{}}
	for _, key := range r.set().keys {
		if !key.isPublished(now) {
			continue
		}
		text, err := key.encodeJWK(key.public)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, text)
	}
	return json.Marshal(set)
}

func (k *Key) isPublished(now time.Time) bool { return k.algorithm != HS512 && !k.hasEnded(now) }
