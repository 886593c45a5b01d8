package tokens_test

import (
	"sync/atomic"
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

// BenchmarkVerifyParallel verifies tokens that are all in the cache, on all cores: each core
// has one of its own, or all have the same.
func BenchmarkVerifyParallel(b *testing.B) {
	key, err := tokens.GenerateKey(tokens.HS512)
	require.NoError(b, err)
	k := newKit(b, key)
	for name, count := range map[string]uint64{"same": 1, "many": 64} {
		b.Run(name, func(b *testing.B) {
			all := make([]string, count)
			for i := range all {
				claims := claims
				claims.Generation = int64(i + 1)
				all[i], err = k.issuer.SignAccess(claims)
				require.NoError(b, err)
			}
			verifier := k.issuer.Verifier()
			var next atomic.Uint64
			b.RunParallel(func(each *testing.PB) {
				token := all[next.Add(1)%count]
				for each.Next() {
					if _, err := verifier.Verify(b.Context(), token); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
