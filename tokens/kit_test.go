package tokens_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"hash"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

const issuerURL = "https://login.example.org"

var (
	epoch        = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	secret       = []byte(strings.Repeat("0123456789abcdef", 4))
	binarySecret = []byte(strings.Repeat("\xff\x00\x9c\x01\xe2\x7f\x80\n\xd3\x1b\xfe\x33\xa0\x5d\xc4\x10", 4))

	claims = tokens.Claims{
		Subject: "subject", ClientID: "client", SessionID: "session", Generation: 3, Expiry: epoch.Add(time.Minute),
	}
)

// kit is an issuer and a verifier that share keys and a clock.
type kit struct {
	now      time.Time
	key      *tokens.Key
	keys     *tokens.Keyring
	issuer   *tokens.Issuer
	verifier *tokens.Verifier
}

// newKit makes a kit of the keys or, without any, of the secret. Its clock is at epoch.
func newKit(t testing.TB, keys ...*tokens.Key) *kit {
	t.Helper()
	k := &kit{now: epoch}
	if len(keys) == 0 {
		parsed, err := tokens.ParseKeys(secret)
		require.NoError(t, err)
		keys = parsed
	}
	k.key = keys[0]
	var err error
	k.keys, err = tokens.NewKeyring(keys...)
	require.NoError(t, err)
	now := func() time.Time { return k.now }
	k.issuer, err = tokens.NewIssuer(tokens.IssuerConfig{Keys: k.keys, Issuer: issuerURL, Audience: "api", Now: now})
	require.NoError(t, err)
	k.verifier, err = tokens.NewVerifier(tokens.VerifierConfig{Keys: k.keys, Issuer: issuerURL, Audience: "api", Now: now})
	require.NoError(t, err)
	return k
}

func (k *kit) verify(token string) error {
	_, err := k.verifier.Verify(context.Background(), token)
	return err
}

// signParts makes a token of any header and payload, signed with HS512 under the secret
// of the kit.
func signParts(header, payload string) string { return signPartsWith(secret, header, payload) }

func signPartsWith(secret []byte, header, payload string) string {
	return signHMAC(sha512.New, secret, encode(header)+"."+encode(payload))
}

// signHMAC adds the signature to the other two segments, whatever they are.
func signHMAC(algorithm func() hash.Hash, secret []byte, signed string) string {
	mac := hmac.New(algorithm, secret)
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(t testing.TB, segment string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	require.NoError(t, err)
	return string(text)
}

func everyAlgorithm(t *testing.T, test func(*testing.T, *tokens.Key)) {
	for _, algorithm := range []tokens.Algorithm{tokens.HS512, tokens.EdDSA, tokens.ES256, tokens.RS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			key, err := tokens.GenerateKey(algorithm)
			require.NoError(t, err)
			require.Equal(t, algorithm, key.Algorithm())
			test(t, key)
		})
	}
}

func generate(t *testing.T, algorithm tokens.Algorithm) *tokens.Key {
	t.Helper()
	key, err := tokens.GenerateKey(algorithm)
	require.NoError(t, err)
	return key
}

// signAccess makes an access token with the claims, signed with the key.
func signAccess(t *testing.T, key *tokens.Key) string {
	t.Helper()
	token, err := newKit(t, key).issuer.SignAccess(claims)
	require.NoError(t, err)
	return token
}
