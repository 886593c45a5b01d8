package tokens

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// IssuerConfig configures an [Issuer].
type IssuerConfig struct {
	// Keys holds the signing key. Required; one of its keys must be able to sign.
	Keys *Keyring
	// Issuer is the URL of this authorization server: an absolute http or https URL
	// without query or fragment. It is the "iss" of every token, and the endpoints
	// stand below it. Changing it ends every login. Required.
	Issuer string
	// Audience is the API that access tokens are for, their "aud". Services that
	// verify tokens must expect the same one. The default is the Issuer.
	Audience string
	// CacheBytes is that of [VerifierConfig], for [Issuer.Verifier].
	CacheBytes int64
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Issuer signs access and refresh tokens, and verifies both. It is safe for
// concurrent use.
type Issuer struct {
	keys     *Keyring
	access   expectation
	refresh  expectation
	now      func() time.Time
	verifier *Verifier
}

// NewIssuer checks the whole configuration and returns one error that names each
// wrong field.
func NewIssuer(config IssuerConfig) (*Issuer, error) {
	var problems []string
	if config.Keys == nil {
		problems = append(problems, "Keys is required")
	} else if config.Keys.Active() == nil {
		problems = append(problems, "Keys: none of the keys can sign: a private key or a secret is needed")
	}
	if !isIssuer(config.Issuer) {
		problems = append(problems, issuerProblem)
	}
	tokenEndpoint := strings.TrimSuffix(config.Issuer, "/") + "/token"
	if config.Audience == tokenEndpoint {
		problems = append(problems, "Audience must not be the token endpoint, "+tokenEndpoint+": refresh tokens are for it")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("tokens: issuer configuration: %s", strings.Join(problems, "; "))
	}
	verifier, err := NewVerifier(VerifierConfig{
		Keys: config.Keys, Issuer: config.Issuer, Audience: config.Audience, CacheBytes: config.CacheBytes, Now: config.Now,
	})
	if err != nil {
		return nil, err
	}
	return &Issuer{
		keys:     config.Keys,
		access:   verifier.expected,
		refresh:  expect(config.Issuer, tokenEndpoint),
		now:      verifier.now,
		verifier: verifier,
	}, nil
}

// URL is the issuer's URL, as it was configured.
func (i *Issuer) URL() string { return i.access.issuer }

// Audience is the audience of access tokens.
func (i *Issuer) Audience() string { return i.access.audience[0] }

// TokenEndpoint is the URL of the token endpoint: the URL of the issuer with "/token"
// behind it. It is the audience of refresh tokens.
func (i *Issuer) TokenEndpoint() string { return i.refresh.audience[0] }

// Keys is the keyring that the issuer signs with.
func (i *Issuer) Keys() *Keyring { return i.keys }

// Verifier verifies the access tokens of this issuer, with the same keys and the same
// clock. It is the same Verifier each time, so that all who use it share its memory.
func (i *Issuer) Verifier() *Verifier { return i.verifier }

// SignAccess makes an access token. It uses the Subject, ClientID, SessionID,
// Generation and Expiry of the claims and fills in the rest. It returns an error that
// matches [ErrInvalid] for claims that no verifier would accept, and one that matches
// [ErrKey] if the keyring has lost its signing key.
func (i *Issuer) SignAccess(claims Claims) (string, error) {
	key := i.keys.Active()
	if key == nil {
		return "", errNoSigningKey
	}
	return i.sign(&claims, &i.access, key.access)
}

// SignRefresh makes a refresh token in the same way.
func (i *Issuer) SignRefresh(claims Claims) (string, error) {
	key := i.keys.Active()
	if key == nil {
		return "", errNoSigningKey
	}
	return i.sign(&claims, &i.refresh, key.refresh)
}

var (
	errNoSigningKey = keyError("none of the keys can sign")
	errClaims       = fmt.Errorf("%w: signing: Subject, ClientID and SessionID are required, and Generation starts at 1", ErrMalformed)
)

func (i *Issuer) sign(claims *Claims, to *expectation, key *tokenKey) (string, error) {
	now := i.now()
	switch {
	case claims.Subject == "", claims.ClientID == "", claims.SessionID == "", claims.Generation < 1:
		return "", errClaims
	case claims.Expiry.Unix() <= now.Unix():
		return "", fmt.Errorf("%w: signing: Expiry is not in the future", ErrExpired)
	}
	scratch := getScratch()
	defer scratch.release()
	scratch.claims = wireClaims{
		Issuer:     to.issuer,
		Subject:    claims.Subject,
		Audience:   audience{one: to.audience[0]},
		ClientID:   claims.ClientID,
		SessionID:  claims.SessionID,
		Generation: claims.Generation,
		IssuedAt:   now.Unix(),
		Expiry:     claims.Expiry.Unix(),
		ID:         rand.Text(),
	}
	payload, err := json.Marshal(&scratch.claims)
	if err != nil {
		return "", fmt.Errorf("%w: encoding the claims: %w", ErrMalformed, err)
	}
	token := append(append(scratch.memory[:0], key.header...), '.')
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	signature, err := key.signer.Sign(token, key.private)
	if err != nil {
		return "", fmt.Errorf("tokens: signing: %w", err)
	}
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), signature)
	scratch.memory = token
	return string(token), nil
}

// VerifyRefresh verifies a refresh token that this issuer has made, or another
// process with the same keys and configuration. Every error matches [ErrInvalid].
func (i *Issuer) VerifyRefresh(compact string) (RefreshToken, error) {
	now := i.now()
	scratch := getScratch()
	defer scratch.release()
	if _, err := i.keys.set().verify(compact, typeRefresh, now, scratch); err != nil {
		return RefreshToken{}, err
	}
	claims := &scratch.claims
	if err := i.refresh.check(claims); err != nil {
		return RefreshToken{}, err
	}
	if err := claims.window(0).check(now); err != nil {
		return RefreshToken{}, err
	}
	return RefreshToken{i.refresh.export(claims)}, nil
}

// VerifyAny verifies an access or refresh token that this issuer has made, whether it
// has expired or not. It is for revocation: people log out late. What it returns is
// no proof that anybody may do anything now. Every error matches [ErrInvalid].
func (i *Issuer) VerifyAny(compact string) (Claims, error) {
	var always time.Time // no key has an end before it
	scratch := getScratch()
	defer scratch.release()
	key, err := i.keys.set().verify(compact, typeAny, always, scratch)
	if err != nil {
		return Claims{}, err
	}
	expected := &i.access
	if key.typ == typeRefresh {
		expected = &i.refresh
	}
	if err := expected.check(&scratch.claims); err != nil {
		return Claims{}, err
	}
	return expected.export(&scratch.claims), nil
}
