package tokens

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jws"
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
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Verifier verifies access tokens. It is safe for concurrent use.
type Verifier struct {
	keys     *Keyring
	issuer   string
	audience string
	leeway   time.Duration
	now      func() time.Time
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
	if config.Audience == "" {
		config.Audience = config.Issuer
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	return &Verifier{
		keys:     config.Keys,
		issuer:   config.Issuer,
		audience: config.Audience,
		leeway:   config.Leeway,
		now:      config.Now,
	}, nil
}

// Verify verifies an access token: its form, type, key, algorithm, signature,
// issuer, audience and expiry, in this order. The error matches [ErrInvalid] and
// one of the reasons beside it.
//
// A token that passes is genuine, no more: its session may have ended and its
// account may be gone. Package middleware asks the store about both.
func (v *Verifier) Verify(_ context.Context, compact string) (AccessToken, error) {
	now := v.now()
	claims, err := verify([]byte(compact), now, v.keys.current.Load().accessKey)
	if err != nil {
		return AccessToken{}, err
	}
	if err := claims.check(v.issuer, v.audience, now, v.leeway); err != nil {
		return AccessToken{}, err
	}
	return AccessToken{claims.export()}, nil
}

// keyOf finds the key that a header names, once the header is of the right type.
func (s *keySet) keyOf(segment []byte, typ string, now time.Time) (*Key, wireHeader, error) {
	header, err := decodeHeader(segment)
	if err != nil {
		return nil, header, err
	}
	if header.Type != typ {
		return nil, header, ErrType
	}
	key := s.byID[header.KeyID]
	if key == nil || key.over(now) {
		return nil, header, ErrUnknownKey
	}
	return key, header, nil
}

// accessKey finds how to verify an access token by its header.
func (s *keySet) accessKey(segment []byte, now time.Time) (jws.Verifier, any, error) {
	key, header, err := s.keyOf(segment, typeAccess, now)
	if err != nil {
		return nil, nil, err
	}
	if header.Algorithm != key.algorithm {
		return nil, nil, ErrAlgorithm
	}
	return key.verifier, key.public, nil
}

// refreshKey finds how to verify a refresh token by its header.
func (s *keySet) refreshKey(segment []byte, now time.Time) (jws.Verifier, any, error) {
	key, header, err := s.keyOf(segment, typeRefresh, now)
	if err != nil {
		return nil, nil, err
	}
	if header.Algorithm != HS512 {
		return nil, nil, ErrAlgorithm
	}
	if key.refreshSecret == nil {
		return nil, nil, ErrUnknownKey
	}
	return refreshVerifier, key.refreshSecret, nil
}

// verify checks form and signature. Nothing in the payload is looked at before
// the signature has been found good.
func verify(compact []byte, now time.Time, keyOf func(header []byte, now time.Time) (jws.Verifier, any, error)) (wireClaims, error) {
	token, err := split(compact)
	if err != nil {
		return wireClaims{}, err
	}
	verifier, key, err := keyOf(token.header, now)
	if err != nil {
		return wireClaims{}, err
	}
	signature, err := strictBase64.AppendDecode(nil, token.signature)
	if err != nil {
		return wireClaims{}, malformed("signature: not strict base64")
	}
	if verifier.Verify(token.signed, signature, key) != nil {
		return wireClaims{}, ErrSignature
	}
	return decodeClaims(token.payload)
}

// check compares the claims with what is expected of them. "iat" is not compared
// with the clock: the clocks of two processes differ.
func (c *wireClaims) check(issuer, audience string, now time.Time, leeway time.Duration) error {
	notBefore, err := c.notBefore()
	switch {
	case err != nil:
		return err
	case c.Issuer != issuer:
		return ErrIssuer
	case !slices.Contains(c.Audience, audience):
		return ErrAudience
	case !now.Before(time.Unix(c.Expiry, 0).Add(leeway)):
		return ErrExpired
	case notBefore != 0 && now.Add(leeway).Before(time.Unix(notBefore, 0)):
		return ErrNotYetValid
	}
	return nil
}
