package tokens_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// BenchmarkVerify verifies one access token, with and without the cache.
func BenchmarkVerify(b *testing.B) {
	for _, algorithm := range []tokens.Algorithm{tokens.HS512, tokens.EdDSA} {
		key, err := tokens.GenerateKey(algorithm)
		require.NoError(b, err)
		k := newKit(b, key)
		token, err := k.issuer.SignAccess(claims)
		require.NoError(b, err)
		for name, bytes := range map[string]int64{"cold": -1, "warm": 0} {
			b.Run(string(algorithm)+"/"+name, func(b *testing.B) {
				verifier, err := tokens.NewVerifier(tokens.VerifierConfig{
					Keys: k.keys, Issuer: issuerURL, Audience: "api", CacheBytes: bytes, Now: func() time.Time { return k.now },
				})
				require.NoError(b, err)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := verifier.Verify(b.Context(), token); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
