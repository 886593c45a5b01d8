package tokens

import (
	"sync/atomic"
)

// Keyring holds the keys in force: one that signs and any number that verify.
// It is what an [Issuer] and a [Verifier] of one process share, so that both see
// a change at the same moment. It is safe for concurrent use.
type Keyring struct {
	current atomic.Pointer[keySet]
}

// keySet never changes: a reader that has loaded it is done with locking.
type keySet struct {
	byID   map[string]*Key
	active *Key // nil where no key can sign
}

// NewKeyring makes a keyring of the keys. The first one that can sign is the
// active one. It returns an error that matches [ErrKey] if there is no key or
// two of them have the same id.
func NewKeyring(keys ...*Key) (*Keyring, error) {
	ring := new(Keyring)
	if err := ring.Replace(keys...); err != nil {
		return nil, err
	}
	return ring, nil
}

// Replace puts the keys in the place of all that were there, under the rules of
// [NewKeyring]. On an error the old ones stay in force.
func (r *Keyring) Replace(keys ...*Key) error {
	if len(keys) == 0 {
		return keyError("a keyring needs at least one key")
	}
	set := &keySet{byID: make(map[string]*Key, len(keys))}
	for _, key := range keys {
		if set.byID[key.id] != nil {
			return keyError("two keys have the id %q", key.id)
		}
		set.byID[key.id] = key
		if set.active == nil && key.CanSign() {
			set.active = key
		}
	}
	r.current.Store(set)
	return nil
}

// Active is the key that signs, nil where none can.
func (r *Keyring) Active() *Key { return r.current.Load().active }
