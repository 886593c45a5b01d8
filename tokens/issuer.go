package tokens

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// IssuerConfig configures an [Issuer].
type IssuerConfig struct {
	// Keys holds the key that signs and the keys that verify. At least one must be
	// able to sign. Required.
	Keys *Keyring
	// Issuer is the URL of this authorization server, such as
	// https://login.example.org. It must be an absolute http or https URL without
	// user, query and fragment. Its path must be plain: "/tenant/a" is, "/a%2Fb" is
	// not. It is the "iss" of every token, and the endpoints are below it. If you
	// change it, every login ends. Required.
	Issuer string
	// Audience names the API that accepts the access tokens. It is their "aud", and
	// every service that verifies them must expect the same one. It must not be the
	// token endpoint. The default is Issuer.
	Audience string
	// CacheBytes bounds the cache of [Issuer.Verifier], as in [VerifierConfig].
	CacheBytes int64
	// Now is the clock. The default is time.Now.
	Now func() time.Time
}

// Issuer signs access and refresh tokens and verifies both. It is safe for concurrent
// use.
type Issuer struct {
	keys     *Keyring
	access   expectation
	refresh  expectation
	now      func() time.Time
	verifier *Verifier
}

// NewIssuer makes an Issuer. It checks the whole configuration and returns one error
// that names each wrong field.
func NewIssuer(config IssuerConfig) (*Issuer, error) {
	var problems []string
	if config.Keys == nil {
		problems = append(problems, "Keys is required: open them with tokens.OpenKeyring")
	} else if config.Keys.Active() == nil {
		problems = append(problems, "Keys must hold a key that can sign: a private key or a secret")
	}
	if !isIssuer(config.Issuer) {
		problems = append(problems, issuerProblem(config.Issuer))
	}
	tokenEndpoint := strings.TrimSuffix(config.Issuer, "/") + "/token"
	if config.Audience == tokenEndpoint {
		problems = append(problems, "Audience must not be the token endpoint, "+tokenEndpoint+": that is the audience of refresh tokens")
	}
	if !utf8.ValidString(config.Audience) {
		problems = append(problems, fmt.Sprintf("Audience is %q: it must be UTF-8, such as https://api.example.org", config.Audience))
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
		refresh:  newExpectation(config.Issuer, tokenEndpoint),
		now:      verifier.now,
		verifier: verifier,
	}, nil
}

// issuerProblem says what an issuer must be. It does not repeat a URL that may hold a password.
func issuerProblem(issuer string) string {
	if issuer == "" {
		return "Issuer is required: give the URL of the server that clients use, such as https://login.example.org"
	}
	shown := strconv.Quote(issuer)
	if strings.Contains(issuer, "@") {
		shown = "a URL with an @"
	}
	if !strings.Contains(issuer, "://") {
		return "Issuer is " + shown + ": it must begin with https:// or http://, such as https://login.example.org"
	}
	return "Issuer is " + shown + ": it must be an absolute http or https URL without user, query and fragment, such as https://login.example.org; " +
		"its path must be plain: no space, brace, percent sign, control character, escaped slash, empty or dotted segment"
}

// isIssuer reports whether endpoints can be below the URL. Servers compare its path and
// mount it as a pattern of http.ServeMux, so the path must be plain: issuerProblem
// says what it cannot hold.
func isIssuer(issuer string) bool {
	location, err := url.Parse(issuer)
	if err != nil || !utf8.ValidString(issuer) || location.Host == "" || location.User != nil || location.Scheme != "https" && location.Scheme != "http" {
		return false
	}
	if strings.ContainsAny(issuer, "?#") || strings.Contains(strings.ToUpper(location.EscapedPath()), "%2F") {
		return false
	}
	if location.Path == "" || location.Path == "/" {
		return true
	}
	clean := strings.TrimSuffix(location.Path, "/")
	return clean != "/" && path.Clean(clean) == clean && !strings.ContainsAny(clean, "{} %") && !strings.ContainsFunc(clean, unicode.IsControl)
}

// URL returns the URL of the issuer, as it was configured.
func (i *Issuer) URL() string { return i.access.issuer }

// Audience returns the audience of access tokens.
func (i *Issuer) Audience() string { return i.access.audience[0] }

// TokenEndpoint returns the URL of the token endpoint, which is the audience of
// refresh tokens: the URL of the issuer with "/token" added.
func (i *Issuer) TokenEndpoint() string { return i.refresh.audience[0] }

// Keys returns the keyring that the issuer signs with.
func (i *Issuer) Keys() *Keyring { return i.keys }

// Verifier returns a verifier of this issuer's access tokens, with the same keys and
// the same clock. It returns the same one at each call, so all callers share its cache.
func (i *Issuer) Verifier() *Verifier { return i.verifier }

// SignAccess makes an access token from the Subject, ClientID, SessionID, Generation
// and Expiry of the claims, and sets the other claims itself. The error matches
// [ErrInvalid] if no verifier would accept the claims, and [ErrKey] if the keyring no
// longer holds a key that can sign.
func (i *Issuer) SignAccess(claims Claims) (string, error) {
	key := i.keys.Active()
	if key == nil {
		return "", errNoSigningKey
	}
	return i.sign(&claims, &i.access, key.access)
}

// SignRefresh makes a refresh token. It uses the same claims as [Issuer.SignAccess] and
// returns the same errors.
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

func (i *Issuer) sign(claims *Claims, target *expectation, key *tokenKey) (string, error) {
	now := i.now()
	switch {
	case claims.Subject == "", claims.ClientID == "", claims.SessionID == "", claims.Generation < 1:
		return "", errClaims
	case claims.Expiry.Unix() <= now.Unix():
		return "", fmt.Errorf("%w: signing: Expiry is not in the future", ErrExpired)
	case claims.Expiry.Unix() > maxTime:
		return "", malformed("signing: Expiry is after the year 9999")
	}
	scratch := getScratch()
	defer scratch.release()
	payload, err := target.appendPayload(scratch.memory[:0], claims, now)
	if err != nil {
		return "", fmt.Errorf("%w: encoding the claims: %w", ErrMalformed, err)
	}
	scratch.memory = payload
	token := append(append(payload[len(payload):], key.header...), '.')
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	signature, err := key.signer.Sign(token, key.private)
	if err != nil {
		return "", fmt.Errorf("tokens: signing: %w", err)
	}
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), signature)
	if len(token) > MaxLength {
		return "", malformed("signing: the claims are too long")
	}
	return string(token), nil
}

// VerifyRefresh verifies a refresh token that this issuer made, or that another
// process made with the same keys and configuration. Every error matches [ErrInvalid].
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

// VerifyForRevocation verifies an access or refresh token of this issuer and ignores the clock:
// an expired token passes. It is for revocation, because users log out late. Never let
// a request in because of its result. Every error matches [ErrInvalid].
func (i *Issuer) VerifyForRevocation(compact string) (Claims, error) {
	scratch := getScratch()
	defer scratch.release()
	key, err := i.keys.set().verify(compact, typeAny, time.Time{}, scratch) // the zero time is before the end of every key
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
