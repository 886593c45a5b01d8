package tokens

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// VerifierConfig says which access tokens a [Verifier] believes.
type VerifierConfig struct {
	// Keys holds the keys that may have signed. Required.
	Keys *Keyring
	// Issuer is the "iss" that tokens must have. Required.
	Issuer string
	// Audience must be among the "aud" of tokens. The default is the Issuer.
	Audience string
	// Leeway is how long after "exp", and before "nbf", a token is still
	// accepted, for clocks that differ. The default is 0.
	Leeway time.Duration
	// CacheBytes bounds the memory that verified tokens may take, about 1.1 KB
	// each. The default is 32 MiB, some 29,000 tokens; a negative value turns the
	// cache off.
	CacheBytes int64
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Verifier verifies access tokens. It is safe for concurrent use.
//
// It remembers tokens that it has verified, up to a number of bytes, so that one
// which comes again costs a look-up and a look at the clock. A caller who is logged
// in can fill the memory with tokens of his own, and does others no more harm by it
// than the cost of verifying theirs again, a few microseconds.
type Verifier struct {
	keys     *Keyring
	expected expectation
	leeway   time.Duration
	now      func() time.Time
	cache    *cache // nil where it is off
}

// NewVerifier checks the whole configuration and returns one error that names
// each wrong field.
func NewVerifier(config VerifierConfig) (*Verifier, error) {
	var problems []string
	if config.Keys == nil {
		problems = append(problems, "Keys is required")
	}
	if !isIssuer(config.Issuer) {
		problems = append(problems, issuerProblem)
	}
	if config.Leeway < 0 {
		problems = append(problems, "Leeway must not be negative")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("tokens: verifier configuration: %s", strings.Join(problems, "; "))
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Verifier{
		keys:     config.Keys,
		expected: expect(config.Issuer, cmp.Or(config.Audience, config.Issuer)),
		leeway:   config.Leeway,
		now:      config.Now,
		cache:    newCache(config.CacheBytes),
	}, nil
}

// Verify verifies an access token: its form, type, key, algorithm, signature,
// issuer, audience and expiry, in this order. The error matches [ErrInvalid] and
// one of the reasons beside it.
//
// A token that passes is genuine, no more: its session may have ended and its
// account may be gone. Package middleware asks the store about both.
func (v *Verifier) Verify(_ context.Context, compact string) (AccessToken, error) {
	now, set := v.now(), v.keys.set()
	if known := v.cache.get(compact, set); known != nil {
		if err := known.check(now); err != nil {
			return AccessToken{}, err
		}
		return known.token, nil
	}
	scratch := getScratch()
	defer scratch.release()
	key, err := set.verify(compact, typeAccess, now, scratch)
	if err != nil {
		return AccessToken{}, err
	}
	claims := &scratch.claims
	if err := v.expected.check(claims); err != nil {
		return AccessToken{}, err
	}
	window := claims.window(v.leeway)
	if err := window.check(now); err != nil {
		return AccessToken{}, err
	}
	token := AccessToken{v.expected.export(claims)}
	if v.cache != nil && v.keys.set() == set { // else a key that was removed meanwhile may have signed it
		v.cache.put(compact, &cached{token: token, set: set, key: key.key, window: window})
	}
	return token, nil
}
