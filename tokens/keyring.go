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

// Keyring holds the keys in force: one that signs and any number that verify. An
// [Issuer] and its [Verifier] share one, so that both see a change at the same
// moment. It is safe for concurrent use. Make it with [OpenKeyring] or [NewKeyring];
// the zero value holds no key.
type Keyring struct {
	current atomic.Pointer[keySet] // nil where there was never a key, see set

	file    *KeyFile // nil where it was not opened from a file
	created bool
	reload  sync.Mutex // held by Reload
}

var noKeys keySet

// set is what is in force.
func (r *Keyring) set() *keySet {
	if set := r.current.Load(); set != nil {
		return set
	}
	return &noKeys
}

// NewKeyring makes a keyring of the keys. The active one is the key with the state
// [Active], or else the first without a state that can sign. It returns an error
// that matches [ErrKey] if there is no key, or two have the same id, or two are
// active.
func NewKeyring(keys ...*Key) (*Keyring, error) {
	ring := new(Keyring)
	if err := ring.Replace(keys...); err != nil {
		return nil, err
	}
	return ring, nil
}

// Replace puts the keys in the place of all that were there, under the rules of
// [NewKeyring]. On an error the old ones stay in force. Tokens of a key that is not
// among the new ones are refused from then on.
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

// OpenKeyring opens a key file. Where there is none it makes one, of mode 0600, with
// a new key. Of several processes that do so at once one makes the file, and all of
// them read it.
//
// It returns an error that matches [ErrKey], and names the file, if the file holds no
// key that can sign, or anything that is no key.
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
	return r, r.replaceFromFile(keys)
}

// Created reports whether [OpenKeyring] has made the key file.
func (r *Keyring) Created() bool { return r.created }

// KeyChanges says what has changed in a keyring, with a line for each key as
// [Keyring.Describe] writes it.
type KeyChanges struct {
	New, Gone []string
}

// Reload reads the key file of [OpenKeyring] again and puts its keys in force. Call
// it when an operator has changed the file, for example on SIGHUP. On an error the
// old keys stay in force: the file is missing or broken, or holds no key that can
// sign.
func (r *Keyring) Reload() (KeyChanges, error) {
	if r.file == nil {
		return KeyChanges{}, keyError("the keyring was not opened from a file")
	}
	r.reload.Lock()
	defer r.reload.Unlock()
	keys, err := LoadKeys(r.file.Path)
	if err != nil {
		return KeyChanges{}, err
	}
	before := r.Describe()
	if err := r.replaceFromFile(keys); err != nil {
		return KeyChanges{}, err
	}
	after := r.Describe()
	return KeyChanges{New: missingIn(before, after), Gone: missingIn(after, before)}, nil
}

func (r *Keyring) replaceFromFile(keys []*Key) error {
	r.file.warnOfMode()
	set, err := newKeySet(keys)
	if err == nil && set.active == nil && !r.file.VerifyOnly {
		err = keyError("none of its keys can sign: a private key or a secret is needed, not a public key")
	}
	if err != nil {
		return fmt.Errorf("key file %s: %w", r.file.Path, err)
	}
	r.current.Store(set)
	return nil
}

// missingIn lists the lines that stand in after and not in before.
func missingIn(before, after []string) (missing []string) {
	for _, line := range after {
		if !slices.Contains(before, line) {
			missing = append(missing, line)
		}
	}
	return missing
}

// Describe writes a line for each key: its id, its algorithm, and its state. A retired
// key has the end of its time as well, and a key that only verifies "verifies".
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

// Active is the key that signs, nil where none can.
func (r *Keyring) Active() *Key { return r.set().active }

// Keys are all keys, in the order in which they were given.
func (r *Keyring) Keys() []*Key { return slices.Clone(r.set().keys) }

// HasPublic reports whether [Keyring.PublicJWKs] publishes a key at that time.
func (r *Keyring) HasPublic(now time.Time) bool {
	return slices.ContainsFunc(r.set().keys, func(key *Key) bool { return key.isPublished(now) })
}

// PublicJWKs is the JWK set (RFC 7517) of the public keys, for others to verify
// tokens with. It never holds a shared secret: where all keys are HMAC keys the set is
// empty. Nor does it hold a retired key whose [Key.VerifyUntil] is not after now.
func (r *Keyring) PublicJWKs(now time.Time) ([]byte, error) {
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

func (k *Key) isPublished(now time.Time) bool { return k.algorithm != HS512 && !k.over(now) }
