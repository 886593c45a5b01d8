package tokens

import (
	"crypto/hmac"
	"crypto/sha512"
	"errors"
	"hash"
	"sync"

	"github.com/lestrrat-go/jwx/v2/jwa"
)

// mac signs and verifies with HS512 (RFC 7518 section 3.2) under one secret. It is a
// jws.Signer and a jws.Verifier, and stands in for those of jwx, which prepare the secret
// and allocate a hash for each token. BenchmarkMAC shows what that costs: more than the MAC
// itself. It is safe for concurrent use.
type mac struct{ states sync.Pool }

// macState is a hash that has the secret, and room for what it returns.
type macState struct {
	hash.Hash
	sum [sha512.Size]byte
}

func newMAC(secret []byte) *mac {
	m := new(mac)
	m.states.New = func() any { return &macState{Hash: hmac.New(sha512.New, secret)} }
	return m
}

// appendSum appends the MAC of signed. The state must come from the pool.
func (s *macState) appendSum(memory, signed []byte) []byte {
	s.Reset()
	s.Write(signed) // never fails
	return s.Sum(memory)
}

// Sign returns the MAC of signed. The secret is that of the mac, whatever the key is.
func (m *mac) Sign(signed []byte, _ any) ([]byte, error) {
	state := m.states.Get().(*macState)
	defer m.states.Put(state)
	return state.appendSum(nil, signed), nil
}

var errMAC = errors.New("tokens: wrong MAC")

// Verify compares the MAC of signed with signature, in constant time.
func (m *mac) Verify(signed, signature []byte, _ any) error {
	state := m.states.Get().(*macState)
	defer m.states.Put(state)
	if !hmac.Equal(state.appendSum(state.sum[:0], signed), signature) {
		return errMAC
	}
	return nil
}

// Algorithm returns HS512.
func (m *mac) Algorithm() jwa.SignatureAlgorithm { return jwa.HS512 }
