package tokens_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// Attacks on keys and signatures that have worked against other libraries. Those on the
// form of a token are in attacks_form_test.go.

// target is an issuer with a key pair, and every verifier of its tokens.
type target struct {
	*kit
	private   any
	verifiers map[string]func(token string) error // the verifiers of access tokens
}

// newTarget makes a target with a new key, which is also published.
func newTarget(t *testing.T, algorithm tokens.Algorithm) *target {
	t.Helper()
	var private any
	var err error
	switch algorithm {
	case tokens.EdDSA:
		_, private, err = ed25519.GenerateKey(nil)
	case tokens.ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case tokens.RS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	require.NoError(t, err)
	key := parseOne(t, pkcs8(t, private))
	p := publish(t)
	p.serveKeys(t, key)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) { c.Interval, c.RetryInterval = time.Hour, time.Hour })
	_, err = remote.Verify(t.Context(), signAccess(t, key))
	require.NoError(t, err)
	k := newKit(t, key)
	return &target{kit: k, private: private, verifiers: map[string]func(string) error{
		"Verifier":       k.verify,
		"RemoteVerifier": func(token string) error { _, err := remote.Verify(t.Context(), token); return err },
	}}
}

func (k *kit) verifyRefresh(token string) error {
	_, err := k.issuer.VerifyRefresh(token)
	return err
}

func header(algorithm, typ, keyID string) string {
	return fmt.Sprintf(`{"alg":%q,"typ":%q,"kid":%q}`, algorithm, typ, keyID)
}

// goodClaims are those of a good access token. With another audience they are those of a
// good refresh token.
func goodClaims(audience string) string {
	return fmt.Sprintf(`{"iss":%q,"sub":"s","aud":%q,"client_id":"c","sid":"x","gen":1,"iat":1,"exp":%d,"jti":"j"}`,
		issuerURL, audience, epoch.Unix()+60)
}

// signatureOf signs with a private key, as the standard library does.
func signatureOf(t *testing.T, private any, signed string) []byte {
	t.Helper()
	digest := sha256.Sum256([]byte(signed))
	switch private := private.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(private, []byte(signed))
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		require.NoError(t, err)
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case *rsa.PrivateKey:
		signature, err := rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
		require.NoError(t, err)
		return signature
	}
	t.Fatalf("a key of type %T", private)
	return nil
}

// TestAlgNoneInNoCaseIsTaken tries all 16 spellings of "none".
func TestAlgNoneInNoCaseIsTaken(t *testing.T) {
	everyAlgorithm(t, func(t *testing.T, key *tokens.Key) {
		k := newKit(t, key)
		for spelling := range 16 {
			none := []byte("none")
			for i := range none {
				if spelling>>i&1 == 1 {
					none[i] -= 'a' - 'A'
				}
			}
			access := encode(header(string(none), "at+jwt", key.ID())) + "." + encode(goodClaims("api")) + "."
			refresh := encode(header(string(none), "rt+jwt", key.ID())) + "." + encode(goodClaims(issuerURL+"/token")) + "."
			for _, signature := range []string{"", "AA", encode(strings.Repeat("\x00", 64))} {
				assert.ErrorIs(t, k.verify(access+signature), tokens.ErrAlgorithm, "%s, signature %q", none, signature)
				assert.ErrorIs(t, k.verifyRefresh(refresh+signature), tokens.ErrAlgorithm, "%s, signature %q", none, signature)
			}
		}
	})
}

// TestPublicKeyIsNoSecret: an attacker signs with HMAC and uses the public key as the
// secret, in whatever encoding a server may hold it.
func TestPublicKeyIsNoSecret(t *testing.T) {
	for _, algorithm := range []tokens.Algorithm{tokens.EdDSA, tokens.ES256, tokens.RS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			k := newTarget(t, algorithm)
			secrets := encodingsOf(t, k)
			for encoding, secret := range secrets {
				for hmacAlgorithm, sum := range map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New} {
					for _, named := range []string{hmacAlgorithm, string(algorithm)} {
						want := tokens.ErrAlgorithm
						if named == string(algorithm) {
							want = tokens.ErrSignature
						}
						token := signHMAC(sum, secret, encode(header(named, "at+jwt", k.key.ID()))+"."+encode(goodClaims("api")))
						for verifier, verify := range k.verifiers {
							assert.ErrorIs(t, verify(token), want, "%s as the secret of %s, named %s, to %s", encoding, hmacAlgorithm, named, verifier)
						}
						token = signHMAC(sum, secret, encode(header(named, "rt+jwt", k.key.ID()))+"."+encode(goodClaims(issuerURL+"/token")))
						assert.ErrorIs(t, k.verifyRefresh(token), tokens.ErrInvalid, "%s as the secret of %s, named %s", encoding, hmacAlgorithm, named)
					}
				}
			}
		})
	}
}

// encodingsOf returns the public key in the usual encodings.
func encodingsOf(t *testing.T, k *target) map[string][]byte {
	t.Helper()
	public := k.private.(crypto.Signer).Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	set, err := k.keys.PublicJWKSet(epoch)
	require.NoError(t, err)
	var members struct{ Keys []json.RawMessage }
	require.NoError(t, json.Unmarshal(set, &members))
	encodings := map[string][]byte{
		"empty": nil, "DER": der, "PEM": text, "PEM without its last line feed": text[:len(text)-1], "PEM with CRLF": []byte(strings.ReplaceAll(string(text), "\n", "\r\n")),
		"base64 of DER": []byte(base64.StdEncoding.EncodeToString(der)), "hex of DER": []byte(hex.EncodeToString(der)),
		"JWK": members.Keys[0], "JWK set": set,
	}
	switch public := public.(type) {
	case ed25519.PublicKey:
		encodings["raw"] = public
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		require.NoError(t, err)
		encodings["point"], encodings["x and y"], encodings["x"] = point, point[1:], point[1:33]
		encodings["compressed point"] = append([]byte{2 + point[64]&1}, point[1:33]...)
	case *rsa.PublicKey:
		pkcs1 := x509.MarshalPKCS1PublicKey(public)
		encodings["PKCS #1 DER"], encodings["modulus"] = pkcs1, public.N.Bytes()
		encodings["PKCS #1 PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1})
	}
	return encodings
}

// TestKeyInTheHeaderIsNeverUsed: an attacker signs with a key of their own and says in the
// header where it is. No verifier takes it, and none asks the address.
func TestKeyInTheHeaderIsNeverUsed(t *testing.T) {
	for _, algorithm := range []tokens.Algorithm{tokens.EdDSA, tokens.ES256, tokens.RS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			k, attacker := newTarget(t, algorithm), newTarget(t, algorithm)
			set, err := attacker.keys.PublicJWKSet(epoch)
			require.NoError(t, err)
			evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				t.Errorf("somebody fetched %s", r.URL)
				_, _ = w.Write(set)
			}))
			defer evil.Close()
			var members struct{ Keys []json.RawMessage }
			require.NoError(t, json.Unmarshal(set, &members))
			template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: epoch.Add(time.Hour)}
			certificate, err := x509.CreateCertificate(rand.Reader, template, template, attacker.private.(crypto.Signer).Public(), attacker.private)
			require.NoError(t, err)
			for member, value := range map[string]string{
				"jwk": string(members.Keys[0]), "jku": fmt.Sprintf("%q", evil.URL+"/jwks.json"), "x5u": fmt.Sprintf("%q", evil.URL+"/chain.pem"),
				"x5c": fmt.Sprintf("[%q]", base64.StdEncoding.EncodeToString(certificate)), "iss": fmt.Sprintf("%q", evil.URL),
			} {
				for kid, want := range map[string]error{k.key.ID(): tokens.ErrSignature, attacker.key.ID(): tokens.ErrUnknownKey, evil.URL: tokens.ErrUnknownKey, "": tokens.ErrUnknownKey} {
					head := strings.TrimSuffix(header(string(algorithm), "at+jwt", kid), "}") + fmt.Sprintf(`,%q:%s}`, member, value)
					signed := encode(head) + "." + encode(goodClaims("api"))
					token := signed + "." + encode(string(signatureOf(t, attacker.private, signed)))
					for verifier, verify := range k.verifiers {
						assert.ErrorIs(t, verify(token), want, "%s, kid %q, to %s", member, kid, verifier)
					}
				}
			}
		})
	}
}

// TestSpecialSignatureIsRefused: signatures that some libraries have taken for any
// message, or that are a second form of a good one.
func TestSpecialSignatureIsRefused(t *testing.T) {
	zero := func(n int) []byte { return make([]byte, n) }
	for algorithm, forge := range map[tokens.Algorithm]func(t *testing.T, private any, good []byte) map[string][]byte{
		tokens.ES256: func(t *testing.T, _ any, good []byte) map[string][]byte {
			order := elliptic.P256().Params().N
			pair := func(r, s *big.Int) []byte { return append(r.FillBytes(zero(32)), s.FillBytes(zero(32))...) }
			r, s := new(big.Int).SetBytes(good[:32]), new(big.Int).SetBytes(good[32:])
			null, one := new(big.Int), big.NewInt(1)
			der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			require.NoError(t, err)
			zeroDER, err := asn1.Marshal(struct{ R, S *big.Int }{null, null})
			require.NoError(t, err)
			return map[string][]byte{
				"r and s are 0": pair(null, null), "r is 0": pair(null, s), "s is 0": pair(r, null),
				"r and s are 1": pair(one, one), "r and s are the order": pair(order, order), "r is the order": pair(order, s), "s is the order": pair(r, order),
				"r is 0, s is 1": pair(null, one), "r is 1, s is 0": pair(one, null),
				"DER": der, "DER of zeros": zeroDER, "no bytes": {}, "32 bytes": good[:32], "63 bytes": good[:63], "65 bytes": append(zero(1), good...), "s and r": pair(s, r),
				"padded for P-384": append(r.FillBytes(zero(48)), s.FillBytes(zero(48))...),
			}
		},
		tokens.EdDSA: func(_ *testing.T, _ any, good []byte) map[string][]byte {
			// The order of the group, as RFC 8032 section 5.1 has it, in little endian.
			order, _ := hex.DecodeString("edd3f55c1a631258d69cf7a2def9de14" + "00000000000000000000000000000010")
			malleable := append([]byte{}, good...)
			carry := 0
			for i := range order {
				carry += int(malleable[32+i]) + int(order[i])
				malleable[32+i] = byte(carry)
				carry >>= 8
			}
			identity := append([]byte{1}, zero(63)...)
			return map[string][]byte{
				"zeros": zero(64), "R is the identity, S is 0": identity, "S and the order": malleable,
				"no bytes": {}, "63 bytes": good[:63], "65 bytes": append(append([]byte{}, good...), 0),
			}
		},
		tokens.RS256: func(_ *testing.T, private any, good []byte) map[string][]byte {
			n := private.(*rsa.PrivateKey).N
			number := func(i *big.Int) []byte { return i.FillBytes(zero(len(good))) }
			return map[string][]byte{
				"0": zero(len(good)), "1": number(big.NewInt(1)), "the modulus": number(n), "the modulus less 1": number(new(big.Int).Sub(n, big.NewInt(1))),
				"and the modulus": new(big.Int).Add(new(big.Int).SetBytes(good), n).Bytes(),
				"no bytes":        {}, "a zero before it": append(zero(1), good...), "cut": good[:len(good)-1],
			}
		},
	} {
		t.Run(string(algorithm), func(t *testing.T) {
			k := newTarget(t, algorithm)
			signed := encode(header(string(algorithm), "at+jwt", k.key.ID())) + "." + encode(goodClaims("api"))
			good := signatureOf(t, k.private, signed)
			for name, signature := range forge(t, k.private, good) {
				for verifier, verify := range k.verifiers {
					assert.ErrorIs(t, verify(signed+"."+encode(string(signature))), tokens.ErrSignature, "%s, to %s", name, verifier)
				}
			}
			for verifier, verify := range k.verifiers {
				assert.NoError(t, verify(signed+"."+encode(string(good))), "the unchanged signature is good for %s", verifier)
			}
		})
	}
}
