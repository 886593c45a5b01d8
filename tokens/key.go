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

// The algorithms of access tokens. HS512 is the default. It is the fastest, and it
// fits if the process that issues the tokens also checks them. With the others, a
// process can check tokens without being able to make them.
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

	// With these labels, HKDF derives values that do not depend on each other (RFC
	// 5869 section 3.2). A change of one logs every user out.
	refreshKeyInfo = "oauthsv refresh token HS512"
	keyIDInfo      = "oauthsv key id"
)

// Key is a key with its id and its algorithm. With a private key or a shared secret in
// it, it can sign and verify. With only a public key, it can verify. Make a Key with
// [GenerateKey], [ParseKeys] or [LoadKeys]. It never changes and is safe for concurrent
// use. If you print it, only its id and its algorithm show.
type Key struct {
	id        string
	algorithm Algorithm
	state     State
	until     time.Time // the end of a retired key; zero if it has none

	// private signs, and is nil in a key that only verifies. public verifies. Both
	// are raw keys, because jwx is fastest with these: []byte, ed25519, *ecdsa or
	// *rsa.
	private, public any

	access  *tokenKey
	refresh *tokenKey // nil if private is nil
}

// tokenKey signs and verifies tokens of one type, under one header. A [Key] has one
// for access tokens and, if it can sign, one for refresh tokens.
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
	k := &tokenKey{
		key: key, typ: typ, algorithm: algorithm, header: encodeHeader(typ, algorithm, key.id),
		private: private, public: public,
	}
	if secret, isSecret := public.([]byte); isSecret {
		mac := newMAC(secret)
		k.signer, k.verifier = mac, mac
		return k, nil
	}
	var err error
	if k.signer, err = jws.NewSigner(jwa.SignatureAlgorithm(algorithm)); err != nil {
		return nil, keyError("%w", err)
	}
	if k.verifier, err = jws.NewVerifier(jwa.SignatureAlgorithm(algorithm)); err != nil {
		return nil, keyError("%w", err)
	}
	return k, nil
}

// State says what a key does while keys are rotated.
type State string

// The states of a key that can sign. A key file can leave them out: [NewKeyring] says
// which key signs then.
const (
	// Active: the key signs and verifies. At most one key is active.
	Active State = "active"
	// Next: the key verifies, and it is published if it has a public half. So all
	// verifiers know it before it becomes active.
	Next State = "next"
	// Retired: the key only verifies, until the tokens that it signed have expired.
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

// newKey makes a Key of a raw key of the standard library. If id is empty, newKey
// derives the id from the key alone, so that all processes give the same key the same
// id.
func newKey(id string, raw any) (*Key, error) {
	key := &Key{id: id}
	var material []byte // the bytes of the private key, to derive the refresh token key from
	switch raw := raw.(type) {
	case []byte:
		if len(raw) < minHMACBytes {
			return nil, keyError("an HMAC secret of %d bytes is too short: HS512 needs at least %d (RFC 7518 section 3.2); make one with: openssl rand -hex %d",
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
		return nil, keyError("a key of type %T fits none of HS512, EdDSA, ES256, RS256", raw)
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
		// Refresh tokens are HS512, whatever the algorithm of the key is.
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

// deriveID returns the thumbprint (RFC 7638) of a public key. The thumbprint of a
// secret would be a plain hash of it, so deriveID uses HKDF for a secret.
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
		return keyError("the EC key is not on the curve P-256, which ES256 needs")
	}
	if _, err := public.ECDH(); err != nil {
		return keyError("the public half of the EC key is not a point on its curve")
	}
	return nil
}

func checkRSASize(public *rsa.PublicKey) error {
	if bits := public.N.BitLen(); bits < minRSABits {
		return keyError("an RSA key of %d bits is too short: RS256 needs at least %d (RFC 7518 section 3.3)", bits, minRSABits)
	}
	return nil
}

// ID returns the id of the key, which is the "kid" in the header of its tokens (RFC
// 7515 section 4.1.4).
func (k *Key) ID() string { return k.id }

// Algorithm returns the algorithm of the access tokens that the key signs or verifies.
func (k *Key) Algorithm() Algorithm { return k.algorithm }

// State returns the state that the key file gives the key. It is empty if the file
// gives none.
func (k *Key) State() State { return k.state }

// VerifyUntil returns the time from which a retired key verifies no more. It is zero
// if the key has no such time.
func (k *Key) VerifyUntil() time.Time { return k.until }

// hasEnded reports whether a retired key has reached its end.
func (k *Key) hasEnded(now time.Time) bool { return !k.until.IsZero() && !now.Before(k.until) }

// CanSign reports whether the key holds a private key or a shared secret.
func (k *Key) CanSign() bool { return k.private != nil }

// String returns the algorithm and the id of the key, and nothing secret.
func (k *Key) String() string { return fmt.Sprintf("%s key %q", k.algorithm, k.id) }

// GoString returns the same as String, for the verb %#v.
func (k *Key) GoString() string { return k.String() }

// PrivateJWK returns the whole key as a JWK (RFC 7517), with the private key or secret
// in it. Keep it as carefully as a password. [ParseKeys] reads it back.
func (k *Key) PrivateJWK() ([]byte, error) {
	if k.private == nil {
		return nil, keyError("%v has no private part", k)
	}
	return k.encodeJWK(k.private)
}
