package tokens

import (
	"maps"
	"slices"
	"sync"
	"time"
)

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

// verify checks form, type, key, algorithm and signature of a token of a type,
// then decodes its claims. Nothing in the payload is looked at before the signature
// has been found good, and left in the scratch.
func (s *keySet) verify(compact, typ string, now time.Time, scratch *scratch) (*use, error) {
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
	with, remembered, err := s.useOf(token.header, typ)
	if err != nil {
		return nil, err
	}
	if with.key.over(now) {
		return nil, ErrUnknownKey
	}
	signature, err := strictBase64.AppendDecode(memory[len(memory):], token.signature)
	if err != nil {
		return nil, malformed("signature: not strict base64")
	}
	if with.verifier.Verify(token.signed, signature, with.public) != nil {
		return nil, ErrSignature
	}
	if !remembered {
		s.remember(token.header, with)
	}
	return with, decodeClaims(token.payload, memory[len(memory):], &scratch.claims)
}

// useOf finds what verifies a token by its header.
func (s *keySet) useOf(segment []byte, typ string) (with *use, remembered bool, err error) {
	if headers := s.headers.Load(); headers != nil {
		with = (*headers)[string(segment)]
	}
	if with != nil {
		if typ != typeAny && with.typ != typ {
			return nil, false, ErrType
		}
		return with, true, nil
	}
	header, err := decodeHeader(segment)
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
	with = key.access
	if header.Type == typeRefresh {
		with = key.refresh
	}
	switch {
	case with == nil: // a refresh token, and the private key is not here
		return nil, false, ErrUnknownKey
	case header.Algorithm != with.algorithm:
		return nil, false, ErrAlgorithm
	}
	return with, false, nil
}

// maxHeaders bounds what is remembered. A key has two headers, so this is plenty
// for all spellings that honest issuers use.
const maxHeaders = 64

// remember spares the next token with the same header the decoding of it. It is
// called only after a signature under the header has been found good, so that
// nobody else can fill the memory.
func (s *keySet) remember(segment []byte, with *use) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var headers map[string]*use
	if old := s.headers.Load(); old != nil {
		headers = maps.Clone(*old)
	} else {
		headers = make(map[string]*use)
	}
	if len(headers) >= maxHeaders {
		return
	}
	headers[string(segment)] = with
	s.headers.Store(&headers)
}
