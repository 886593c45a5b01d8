package tokens

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// keySet never changes, but for what it remembers: a reader that has loaded it is
// done with locking.
type keySet struct {
	keys   []*Key
	byID   map[string]*Key
	active *Key // nil where no key can sign

	headers atomic.Pointer[map[string]*tokenKey] // encoded headers, see remember
	mu      sync.Mutex                           // of those who add to headers
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

// scratch is memory for one verification, which costs more in allocations than in
// anything but the signature. What is decoded into claims are copies, so that the
// next user of the scratch changes nothing that was handed out.
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
// decodes its claims into the scratch. It looks at nothing in the payload before the
// signature has been found good. typ is one type, or typeAny.
func (s *keySet) verify(compact, typ string, now time.Time, scratch *scratch) (*tokenKey, error) {
	if len(compact) > MaxLength {
		return nil, malformed("too long")
	}
	// The token, and behind it what is decoded of it.
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
	if key.key.over(now) {
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
		s.remember(token.header, key)
	}
	return key, decodeClaims(token.payload, memory[len(memory):], &scratch.claims)
}

// keyOf finds what verifies a token, by its encoded header. remembered reports
// whether a signature under this header has been found good before.
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
	if header.Type != typ && (typ != typeAny || header.Type != typeAccess && header.Type != typeRefresh) {
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
	case found == nil: // a refresh token, and the private key is not here
		return nil, false, ErrUnknownKey
	case header.Algorithm != found.algorithm:
		return nil, false, ErrAlgorithm
	}
	return found, false, nil
}

// maxHeaders bounds what is remembered. A key has two headers, so this is plenty
// for all spellings that honest issuers use.
const maxHeaders = 64

// remember spares the next token with the same header the decoding of it. It is
// called only after a signature under the header has been found good, so that
// nobody else can fill the memory.
func (s *keySet) remember(encoded []byte, key *tokenKey) {
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
