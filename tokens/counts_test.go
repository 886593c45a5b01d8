package tokens_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// TestVerifierCountsHitsMissesAndRefusals: the first look at a token is a miss.
func TestVerifierCountsHitsMissesAndRefusals(t *testing.T) {
	for name, bytes := range map[string]int64{"cached": 0, "not cached": -1} {
		t.Run(name, func(t *testing.T) {
			key, err := tokens.GenerateKey(tokens.HS512)
			require.NoError(t, err)
			k := newKit(t, key)
			verifier, err := tokens.NewVerifier(tokens.VerifierConfig{
				Keys: k.keys, Issuer: issuerURL, Audience: "api", CacheBytes: bytes, Now: func() time.Time { return k.now },
			})
			require.NoError(t, err)
			assert.Zero(t, verifier.Counts())
			token, err := k.issuer.SignAccess(claims)
			require.NoError(t, err)
			issuer, err := tokens.NewIssuer(tokens.IssuerConfig{
				Keys: k.keys, Issuer: issuerURL, Audience: "api", CacheBytes: bytes, Now: func() time.Time { return k.now },
			})
			require.NoError(t, err)
			for range 2 {
				_, err = issuer.Verifier().Verify(t.Context(), token)
				require.NoError(t, err)
			}
			assert.Equal(t, bytes < 0, issuer.Verifier().Counts().CacheHits == 0, "that of an issuer has the same bound")
			for range 3 {
				_, err = verifier.Verify(t.Context(), token)
				require.NoError(t, err)
			}
			for _, malformed := range []string{"", "a", "a.b.c", token[:len(token)-5]} {
				_, err = verifier.Verify(t.Context(), malformed)
				require.Error(t, err)
			}
			want := tokens.VerifierCounts{CacheHits: 2, CacheMisses: 1 + 4, Refused: 4}
			if bytes < 0 {
				want = tokens.VerifierCounts{CacheMisses: 3 + 4, Refused: 4}
			}
			assert.Equal(t, want, verifier.Counts())

			k.now = claims.Expiry.Add(time.Second)
			_, err = verifier.Verify(t.Context(), token)
			require.ErrorIs(t, err, tokens.ErrExpired)
			want.Refused++
			if bytes < 0 {
				want.CacheMisses++
			} else {
				want.CacheHits++
			}
			assert.Equal(t, want, verifier.Counts())
		})
	}
}

func TestNoVerificationIsCountedTwiceNorLost(t *testing.T) {
	key, err := tokens.GenerateKey(tokens.HS512)
	require.NoError(t, err)
	k := newKit(t, key)
	verifier := k.issuer.Verifier()
	const goroutines, each = 8, 200
	var all sync.WaitGroup
	for i := range goroutines {
		claims := claims
		claims.Generation = int64(i + 1)
		token, err := k.issuer.SignAccess(claims)
		require.NoError(t, err)
		all.Go(func() {
			for range each {
				_, err := verifier.Verify(t.Context(), token)
				assert.NoError(t, err)
				verifier.Counts()
			}
		})
	}
	all.Wait()
	assert.Equal(t, tokens.VerifierCounts{CacheHits: goroutines * (each - 1), CacheMisses: goroutines}, verifier.Counts())
}

// TestRemoteVerifierCountsFetches: those that fail are counted among all.
func TestRemoteVerifierCountsFetches(t *testing.T) {
	key, err := tokens.GenerateKey(tokens.EdDSA)
	require.NoError(t, err)
	k := newKit(t, key)
	published, err := k.keys.PublicJWKSet(k.now)
	require.NoError(t, err)
	var down atomic.Bool
	down.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(published)
	}))
	defer server.Close()
	verifier, err := tokens.NewRemoteVerifier(tokens.RemoteConfig{
		URL: server.URL, Issuer: issuerURL, Audience: "api", RetryInterval: time.Millisecond, Now: func() time.Time { return k.now },
	})
	require.NoError(t, err)
	defer verifier.Close()
	require.Eventually(t, func() bool { return verifier.Counts().FetchFailures >= 2 }, time.Minute, time.Millisecond)
	down.Store(false)
	token, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := verifier.Verify(t.Context(), token)
		return err == nil
	}, time.Minute, time.Millisecond)
	verifier.Close()
	counts := verifier.Counts()
	assert.Greater(t, counts.Fetches, counts.FetchFailures)
	assert.GreaterOrEqual(t, counts.CacheMisses, int64(1))
	before := counts.CacheHits
	_, err = verifier.Verify(t.Context(), token)
	require.NoError(t, err)
	assert.Equal(t, before+1, verifier.Counts().CacheHits)
}
