package tokens

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// IssuerConfig says what an [Issuer] writes into its tokens.
type IssuerConfig struct {
	// Keys holds the signing key. Required; one of its keys must be able to sign.
	Keys *Keyring
	// Issuer is the "iss" of every token: the absolute URL of this authorization
	// server, http or https, without query or fragment. Required.
	Issuer string
	// Audience is the "aud" of access tokens: the API they are for. The default
	// is the Issuer.
	Audience string
	// TokenEndpoint is the "aud" of refresh tokens: the URL of the token
	// endpoint. It must not be the Audience. The default is the Issuer with
	// "/token" behind it.
	TokenEndpoint string
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Issuer signs access and refresh tokens and verifies refresh tokens. It is safe
// for concurrent use.
type Issuer struct {
	keys          *Keyring
	issuer        string
	audience      []string // one each
	tokenEndpoint []string
	now           func() time.Time
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
	if config.Audience == "" {
		config.Audience = config.Issuer
	}
	if config.TokenEndpoint == "" {
		config.TokenEndpoint = strings.TrimSuffix(config.Issuer, "/") + "/token"
	}
	if config.TokenEndpoint == config.Audience {
		problems = append(problems, "TokenEndpoint must differ from Audience")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("tokens: issuer configuration: %s", strings.Join(problems, "; "))
	}
	return &Issuer{
		keys:          config.Keys,
		issuer:        config.Issuer,
		audience:      []string{config.Audience},
		tokenEndpoint: []string{config.TokenEndpoint},
		now:           config.Now,
	}, nil
}

const issuerProblem = "Issuer must be an absolute http or https URL without user, query and fragment"

// isIssuer looks for "?" and "#" itself, as url.Parse drops an empty fragment.
func isIssuer(issuer string) bool {
	location, err := url.Parse(issuer)
	return err == nil && location.Host != "" && location.User == nil &&
		(location.Scheme == "https" || location.Scheme == "http") && !strings.ContainsAny(issuer, "?#")
}

// SignAccess makes an access token with the Subject, ClientID, SessionID,
// Generation and Expiry of the claims; the other fields of claims are not read. It
// returns an error that matches [ErrKey] if the keyring has lost its signing key.
func (i *Issuer) SignAccess(claims Claims) (string, error) {
	key := i.keys.Active()
	if key == nil {
		return "", errNoSigningKey
	}
	return i.sign(claims, i.audience[0], key.access)
}

// SignRefresh makes a refresh token in the same way.
func (i *Issuer) SignRefresh(claims Claims) (string, error) {
	key := i.keys.Active()
	if key == nil {
		return "", errNoSigningKey
	}
	return i.sign(claims, i.tokenEndpoint[0], key.refresh)
}

var errNoSigningKey = keyError("none of the keys can sign")

func (i *Issuer) sign(claims Claims, to string, with *use) (string, error) {
	scratch := getScratch()
	defer scratch.release()
	scratch.claims = wireClaims{
		Issuer:     i.issuer,
		Subject:    claims.Subject,
		Audience:   audience{one: to},
		ClientID:   claims.ClientID,
		SessionID:  claims.SessionID,
		Generation: claims.Generation,
		IssuedAt:   i.now().Unix(),
		Expiry:     claims.Expiry.Unix(),
		ID:         rand.Text(),
	}
	payload, err := json.Marshal(&scratch.claims)
	if err != nil {
		return "", fmt.Errorf("tokens: encoding the claims: %w", err)
	}
	token := append(append(scratch.memory[:0], with.header...), '.')
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	signature, err := with.signer.Sign(token, with.private)
	if err != nil {
		return "", fmt.Errorf("tokens: signing: %w", err)
	}
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), signature)
	scratch.memory = token
	return string(token), nil
}

// VerifyRefresh verifies a refresh token that this issuer, or another process
// with the same keys and configuration, has made. The error matches [ErrInvalid].
func (i *Issuer) VerifyRefresh(compact string) (RefreshToken, error) {
	now := i.now()
	scratch := getScratch()
	defer scratch.release()
	if _, err := i.keys.set().verify(compact, typeRefresh, now, scratch); err != nil {
		return RefreshToken{}, err
	}
	claims := &scratch.claims
	if err := claims.check(i.issuer, i.tokenEndpoint, now, 0); err != nil {
		return RefreshToken{}, err
	}
	return RefreshToken{claims.export(i.tokenEndpoint)}, nil
}

// VerifyAny verifies a token of either kind that this issuer has made, whatever
// the clock says of it: for revocation, since people log out late. It is no proof
// that anybody may do anything now. The error matches [ErrInvalid].
func (i *Issuer) VerifyAny(compact string) (Claims, error) {
	var always time.Time // of which no key is over
	scratch := getScratch()
	defer scratch.release()
	with, err := i.keys.set().verify(compact, typeAny, always, scratch)
	if err != nil {
		return Claims{}, err
	}
	claims := &scratch.claims
	audience := i.audience
	if with.typ == typeRefresh {
		audience = i.tokenEndpoint
	}
	if err := claims.check(i.issuer, audience, time.Unix(claims.Expiry, 0), time.Second); err != nil {
		return Claims{}, err
	}
	return claims.export(audience), nil
}
