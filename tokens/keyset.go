package tokens

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// keySet is a set of keys that never changes, so a reader needs no lock. Only the
// remembered headers change.
type keySet struct {
	keys   []*Key
	byID   map[string]*Key
	active *Key // nil if no key can sign

	headers atomic.Pointer[map[string]*tokenKey] // by encoded header, see rememberHeader
	mu      sync.Mutex                           // held to add to headers
}

func newKeySet(keys []*Key) (*keySet, error) {
	set := &keySet{keys: slices.Clone(keys), byID: make(map[string]*Key, len(keys))}
	var first *Key // the first key without a state that can sign
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
	set.active = cmp.Or(set.active, first)
	return set, nil
}

// scratch is reusable memory for one signing or verification. Without it, allocations
// cost more than anything but the signature. Decoding copies strings into claims, so
// reuse of the memory never changes a token that was returned.
type scratch struct {
	memory []byte
	claims wireClaims
}

var scratches = sync.Pool{New: func() any { return &scratch{memory: make([]byte, 0, 2<<10)} }}

func getScratch() *scratch { return scratches.Get().(*scratch) }

func (s *scratch) release() {
	s.claims = wireClaims{}
	scratches.Put(s)
}

// verify checks the form, type, key, algorithm and signature of a token, and then
// decodes its claims into the scratch. It does not look into the payload before the
// signature has proved good. typ is the expected type, or typeAny.
func (s *keySet) verify(compact, typ string, now time.Time, scratch *scratch) (*tokenKey, error) {
	if len(compact) > MaxLength {
		return nil, malformed("it is too long")
	}
	// memory holds the token, and after it what is decoded from it.
	scratch.memory = slices.Grow(scratch.memory[:0], 2*len(compact))
	memory := append(scratch.memory, compact...)
	token, err := split(memory)
	if err != nil {
		return nil, err
	}
	key, remembered, err := s.keyOf(token.header, typ)
	if err != nil {
		return nil, err
	}
	if key.key.hasEnded(now) {
		return nil, ErrUnknownKey
	}
	signature, err := strictBase64.AppendDecode(memory[len(memory):], token.signature)
	if err != nil {
		return nil, malformed("signature: not strict base64")
	}
	if key.verifier.Verify(token.signed, signature, key.public) != nil {
		return nil, ErrSignature
	}
	if !remembered {
		s.rememberHeader(token.header, key)
	}
	return key, decodeClaims(token.payload, memory[len(memory):], &scratch.claims)
}

// keyOf returns the key that verifies tokens with this encoded header. remembered
// reports whether a signature under the header has proved good before.
func (s *keySet) keyOf(encoded []byte, typ string) (found *tokenKey, remembered bool, err error) {
	if headers := s.headers.Load(); headers != nil {
		found = (*headers)[string(encoded)]
	}
	if found != nil {
		if typ != typeAny && found.typ != typ {
			return nil, false, ErrType
		}
		return found, true, nil
	}
	header, err := decodeHeader(encoded)
	if err != nil {
		return nil, false, err
	}
	if header.Type != typeAccess && header.Type != typeRefresh || typ != typeAny && header.Type != typ {
		return nil, false, ErrType
	}
	key := s.byID[header.KeyID]
	if key == nil {
		return nil, false, ErrUnknownKey
	}
	found = key.access
	if header.Type == typeRefresh {
		found = key.refresh
	}
	switch {
	case found == nil: // a refresh token, for which a public key is not enough
		return nil, false, ErrUnknownKey
	case header.Algorithm != found.algorithm:
		return nil, false, ErrAlgorithm
	}
	return found, false, nil
}

// maxHeaders bounds the remembered headers. An Issuer writes two headers for a key, so
// this leaves room for the spellings of other honest issuers.
const maxHeaders = 64

// rememberHeader saves the decoding of the same header in later tokens. Call it only
// after a signature under the header has proved good, so that nobody can fill the
// memory with forged headers.
func (s *keySet) rememberHeader(encoded []byte, key *tokenKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var headers map[string]*tokenKey
	if old := s.headers.Load(); old != nil {
		headers = maps.Clone(*old)
	} else {
		headers = make(map[string]*tokenKey)
	}
	if len(headers) >= maxHeaders {
		return
	}
	headers[string(encoded)] = key
	s.headers.Store(&headers)
}
