package tokens

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Keyring holds the keys in force: one that signs and any number that verify.
// It is what an [Issuer] and a [Verifier] of one process share, so that both see
// a change at the same moment. It is safe for concurrent use. The zero value holds
// no key.
type Keyring struct {
	// Now is the clock that [Keyring.PublicJWKs] looks at, time.Now by default. It
	// must be set before the Keyring is shared.
	Now func() time.Time

	current atomic.Pointer[keySet] // nil where there was never a key, see set
}

var noKeys keySet

// set is what is in force.
func (r *Keyring) set() *keySet {
	if set := r.current.Load(); set != nil {
		return set
	}
	return &noKeys
}

// keySet never changes, but for what it remembers: a reader that has loaded it is
// done with locking.
type keySet struct {
	keys   []*Key
	byID   map[string]*Key
	active *Key // nil where no key can sign

	headers atomic.Pointer[map[string]*use] // encoded headers, see remember
	mu      sync.Mutex                      // of those who add to headers
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
// [NewKeyring]. On an error the old ones stay in force. What was signed with a key
// that is not among the new ones is refused from then on.
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

func newKeySet(keys []*Key) (*keySet, error) {
	set := &keySet{keys: slices.Clone(keys), byID: make(map[string]*Key, len(keys))}
	var first *Key
	for _, key := range keys {
		if set.byID[key.id] != nil {
			return nil, keyError("two keys have the id %q", key.id)
		}
		set.byID[key.id] = key
		switch {
		case !key.CanSign():
		case key.state == Active && set.active != nil:
			return nil, keyError("two keys are active: %q and %q", set.active.id, key.id)
		case key.state == Active:
			set.active = key
		case key.state == "" && first == nil:
			first = key
		}
	}
	if set.active == nil {
		set.active = first
	}
	return set, nil
}

// Active is the key that signs, nil where none can.
func (r *Keyring) Active() *Key { return r.set().active }

// Keys are all keys, in the order in which they were given.
func (r *Keyring) Keys() []*Key { return slices.Clone(r.set().keys) }

// PublicJWKs is the JWK set (RFC 7517) of the public keys, for others to verify
// tokens with. A shared secret is never among them: where all keys are HMAC keys
// the set is empty. Nor is a retired key whose [Key.VerifyUntil] has come, as all
// that it has signed is refused.
func (r *Keyring) PublicJWKs() ([]byte, error) {
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{[]json.RawMessage{}}
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	for _, key := range r.set().keys {
		if key.algorithm == HS512 || key.over(now()) {
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
