package tokens

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// Algorithm is a JWS algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
type Algorithm string

// The algorithms of access tokens. HS512 is the default: it is the fastest, and
// right where the process that issues tokens is the one that checks them. The
// others let a process check tokens without being able to make them.
const (
	HS512 Algorithm = "HS512"
	EdDSA Algorithm = "EdDSA"
	ES256 Algorithm = "ES256"
	RS256 Algorithm = "RS256"
)

const (
	minHMACBytes = sha512.Size // RFC 7518 section 3.2
	minRSABits   = 2048        // RFC 7518 section 3.3
	maxKeyID     = 256

	// The labels keep the derived values apart (RFC 5869 section 3.2). Changing
	// one logs every user out.
	refreshKeyInfo = "oauthsv refresh token HS512"
	keyIDInfo      = "oauthsv key id"
)

// Key is one key: its id, its algorithm, and either the private key (or shared
// secret) or only the public one. Make it with [GenerateKey], [ParseKeys] or
// [LoadKeys]. A Key never changes and is safe for concurrent use. Printing it
// shows the id and the algorithm only.
type Key struct {
	id        string
	algorithm Algorithm
	state     State
	until     time.Time // of a retired key, zero for no end

	// private is what signs, nil in a key that only verifies; public is what
	// verifies. Both are raw keys, as the algorithms of jwx take them fastest:
	// []byte, ed25519, *ecdsa or *rsa.
	private, public any

	access  *tokenKey
	refresh *tokenKey // nil without private
}

// tokenKey is a key as it is used for one type of token: it signs and verifies
// tokens of that type, under one header.
type tokenKey struct {
	key             *Key
	typ             string
	algorithm       Algorithm
	header          string // encoded
	private, public any
	signer          jws.Signer
	verifier        jws.Verifier
}

func newTokenKey(key *Key, typ string, algorithm Algorithm, private, public any) (*tokenKey, error) {
	signer, err := jws.NewSigner(jwa.SignatureAlgorithm(algorithm))
	if err != nil {
		return nil, keyError("%w", err)
	}
	verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(algorithm))
	if err != nil {
		return nil, keyError("%w", err)
	}
	return &tokenKey{
		key: key, typ: typ, algorithm: algorithm, header: encodeHeader(typ, algorithm, key.id),
		private: private, public: public, signer: signer, verifier: verifier,
	}, nil
}

// State is what a key is used for while keys are rotated.
type State string

// The states of a key that can sign. A key from a file that says nothing of states
// is active if it is the first that can sign, else it is as good as retired.
const (
	// Active: the one key that signs.
	Active State = "active"
	// Next: published and good for verifying, so that everybody knows it before
	// it becomes active.
	Next State = "next"
	// Retired: verifies what it has signed, until the last of that has expired.
	Retired State = "retired"
)

// GenerateKey makes a new random key for the algorithm.
func GenerateKey(algorithm Algorithm) (*Key, error) {
	var raw any
	var err error
	switch algorithm {
	case HS512:
		secret := make([]byte, minHMACBytes)
		rand.Read(secret) // never fails
		raw = secret
	case EdDSA:
		_, raw, err = ed25519.GenerateKey(nil)
	case ES256:
		raw, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256:
		raw, err = rsa.GenerateKey(rand.Reader, 3072)
	default:
		return nil, keyError("algorithm %q is not one of HS512, EdDSA, ES256, RS256", algorithm)
	}
	if err != nil {
		return nil, keyError("generating a key for %s: %w", algorithm, err)
	}
	return newKey("", raw)
}

// newKey makes a Key of a raw key as the standard library has it. Without an id
// it gets one that follows from the key alone, so that every process that reads
// the same key names it alike.
func newKey(id string, raw any) (*Key, error) {
	key := &Key{id: id}
	var material []byte // of the private key, for what is derived from it
	switch raw := raw.(type) {
	case []byte:
		if len(raw) < minHMACBytes {
			return nil, keyError("an HMAC secret of %d bytes is shorter than its hash: HS512 needs at least %d (RFC 7518 section 3.2); make one with: openssl rand -hex %d",
				len(raw), minHMACBytes, minHMACBytes)
		}
		key.algorithm, key.private, key.public, material = HS512, raw, raw, raw
	case ed25519.PrivateKey:
		key.algorithm, key.private, key.public, material = EdDSA, raw, raw.Public(), raw.Seed()
		if !raw.Equal(ed25519.NewKeyFromSeed(material)) {
			return nil, keyError("the two halves of the Ed25519 key do not belong together")
		}
	case *ecdsa.PrivateKey:
		var err error
		if err = checkCurve(&raw.PublicKey); err != nil {
			return nil, err
		}
		if material, err = raw.Bytes(); err != nil {
			return nil, keyError("%w", err)
		}
		if twin, err := ecdsa.ParseRawPrivateKey(raw.Curve, material); err != nil || !twin.Equal(raw) {
			return nil, keyError("the two halves of the EC key do not belong together")
		}
		key.algorithm, key.private, key.public = ES256, raw, &raw.PublicKey
	case *rsa.PrivateKey:
		if err := checkRSASize(&raw.PublicKey); err != nil {
			return nil, err
		}
		if err := raw.Validate(); err != nil {
			return nil, keyError("%w", err)
		}
		key.algorithm, key.private, key.public, material = RS256, raw, &raw.PublicKey, raw.D.Bytes()
	case ed25519.PublicKey:
		key.algorithm, key.public = EdDSA, raw
	case *ecdsa.PublicKey:
		if err := checkCurve(raw); err != nil {
			return nil, err
		}
		key.algorithm, key.public = ES256, raw
	case *rsa.PublicKey:
		if err := checkRSASize(raw); err != nil {
			return nil, err
		}
		key.algorithm, key.public = RS256, raw
	default:
		return nil, keyError("a key of type %T serves none of HS512, EdDSA, ES256, RS256", raw)
	}

	var err error
	if key.id == "" {
		if key.id, err = deriveID(key.public); err != nil {
			return nil, err
		}
	}
	if len(key.id) > maxKeyID {
		return nil, keyError("a key id of %d bytes is longer than %d", len(key.id), maxKeyID)
	}
	if key.access, err = newTokenKey(key, typeAccess, key.algorithm, key.private, key.public); err != nil {
		return nil, err
	}
	if material != nil {
		// Refresh tokens are HS512 whatever the algorithm of the access tokens is.
		secret, err := hkdf.Key(sha512.New, material, nil, refreshKeyInfo, minHMACBytes)
		if err != nil {
			return nil, keyError("deriving the refresh token key: %w", err)
		}
		if key.refresh, err = newTokenKey(key, typeRefresh, HS512, secret, secret); err != nil {
			return nil, err
		}
	}
	return key, nil
}

// deriveID is the thumbprint (RFC 7638) of a public key. A secret's thumbprint
// would be a plain hash of the secret, so a secret gets a derived value instead.
func deriveID(public any) (string, error) {
	if secret, ok := public.([]byte); ok {
		id, err := hkdf.Key(sha512.New, secret, nil, keyIDInfo, 12)
		if err != nil {
			return "", keyError("deriving the key id: %w", err)
		}
		return base64.RawURLEncoding.EncodeToString(id), nil
	}
	key, err := jwk.FromRaw(public)
	if err != nil {
		return "", keyError("%w", err)
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", keyError("%w", err)
	}
	return base64.RawURLEncoding.EncodeToString(thumbprint), nil
}

func checkCurve(public *ecdsa.PublicKey) error {
	if public.Curve != elliptic.P256() {
		return keyError("an EC key on another curve than P-256 cannot sign ES256")
	}
	if _, err := public.ECDH(); err != nil {
		return keyError("the EC key is not a point on its curve")
	}
	return nil
}

func checkRSASize(public *rsa.PublicKey) error {
	if bits := public.N.BitLen(); bits < minRSABits {
		return keyError("an RSA key of %d bits is too short: RS256 needs at least %d (RFC 7518 section 3.3)", bits, minRSABits)
	}
	return nil
}

// ID is what the "kid" of a token's header says (RFC 7515 section 4.1.4).
func (k *Key) ID() string { return k.id }

// Algorithm is the one algorithm the key is used with.
func (k *Key) Algorithm() Algorithm { return k.algorithm }

// State is what the key file says of the key, empty where it says nothing.
func (k *Key) State() State { return k.state }

// VerifyUntil is when a retired key has verified its last token, zero for never.
func (k *Key) VerifyUntil() time.Time { return k.until }

// over tells whether a retired key has had its time.
func (k *Key) over(now time.Time) bool { return !k.until.IsZero() && !now.Before(k.until) }

// CanSign tells whether the key holds its private half or shared secret.
func (k *Key) CanSign() bool { return k.private != nil }

// String names the key and never shows it.
func (k *Key) String() string { return fmt.Sprintf("%s key %q", k.algorithm, k.id) }

// GoString is as careful as String.
func (k *Key) GoString() string { return k.String() }

// PrivateJWK is the whole key as a JWK (RFC 7517), secret part included, to be
// kept as carefully as a password. [ParseKeys] reads it back.
func (k *Key) PrivateJWK() ([]byte, error) {
	if k.private == nil {
		return nil, keyError("%v has no private part", k)
	}
	return k.encodeJWK(k.private)
}
