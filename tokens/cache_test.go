package tokens_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// twoVerifiers returns a verifier with a cache and one without. They share the keys and
// the clock of the kit.
func twoVerifiers(t *testing.T, k *kit) (cached, uncached *tokens.Verifier) {
	t.Helper()
	newVerifier := func(bytes int64) *tokens.Verifier {
		verifier, err := tokens.NewVerifier(tokens.VerifierConfig{
			Keys: k.keys, Issuer: issuerURL, Audience: "api", CacheBytes: bytes, Now: func() time.Time { return k.now },
		})
		require.NoError(t, err)
		return verifier
	}
	return newVerifier(64 << 10), newVerifier(-1) // the cache is so small that it evicts
}

// TestCacheChangesNoResult: a verifier with a cache and one without agree about every
// token of a large random set, while the clock moves and keys come and go.
func TestCacheChangesNoResult(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var keys []*tokens.Key
	for _, algorithm := range []tokens.Algorithm{tokens.HS512, tokens.HS512, tokens.EdDSA, tokens.ES256} {
		keys = append(keys, generate(t, algorithm))
	}
	k := newKit(t, keys...)
	cached, uncached := twoVerifiers(t, k)

	var candidates []string
	for i := range 200 {
		key := keys[random.IntN(len(keys))]
		signer := newKit(t, key)
		signer.now = epoch.Add(-2 * time.Minute)
		sessionClaims := claims
		sessionClaims.SessionID = fmt.Sprint("session-", i)
		sessionClaims.Expiry = epoch.Add(time.Duration(random.IntN(600)-60) * time.Second)
		token, err := signer.issuer.SignAccess(sessionClaims)
		require.NoError(t, err)
		candidates = append(candidates, token)
		position := random.IntN(len(token))
		candidates = append(candidates, token[:position]+string("ABCabc019-_."[random.IntN(12)])+token[position+1:])
		refresh, err := signer.issuer.SignRefresh(sessionClaims)
		require.NoError(t, err)
		candidates = append(candidates, refresh, token+"=", token[:position])
	}
	// The secret of the kit signs tokens that an Issuer never writes.
	secretKeys, err := tokens.ParseKeys(secret)
	require.NoError(t, err)
	keys = append(keys, secretKeys...)
	for i := range 100 {
		candidates = append(candidates, signParts(
			fmt.Sprintf(`{"alg":"HS512","typ":"at+jwt","kid":%q}`, secretKeys[0].ID()),
			fmt.Sprintf(`{"iss":%q,"sub":"s","aud":"api","client_id":"c","sid":"x","gen":1,"iat":1,"exp":%d,"nbf":%d,"jti":"%d"}`,
				issuerURL, epoch.Unix()+int64(random.IntN(600)), epoch.Unix()+int64(random.IntN(300)), i)))
	}
	other := newKit(t, generate(t, tokens.HS512))
	unknown, err := other.issuer.SignAccess(claims)
	require.NoError(t, err)
	candidates = append(candidates, unknown)

	accepted, reasons := 0, map[string]int{}
	for step := range 60_000 {
		if step%50 == 0 {
			k.now = epoch.Add(time.Duration(random.IntN(700)-50) * time.Second) // sometimes back
		}
		if step%500 == 0 {
			present := []*tokens.Key{keys[len(keys)-1]}
			for _, key := range keys[:len(keys)-1] {
				if random.IntN(3) > 0 {
					present = append(present, key)
				}
			}
			require.NoError(t, k.keys.Replace(present...))
		}
		// A few tokens come again and again, as in a real service.
		token := candidates[random.IntN(len(candidates))]
		if random.IntN(2) == 0 {
			token = candidates[random.IntN(20)]
		}
		want, wantErr := uncached.Verify(t.Context(), token)
		got, gotErr := cached.Verify(t.Context(), token)
		if wantErr == nil {
			accepted++
		} else {
			reasons[wantErr.Error()]++
		}
		if fmt.Sprint(wantErr) != fmt.Sprint(gotErr) || !assert.ObjectsAreEqual(want, got) {
			t.Fatalf("step %d: uncached says %v, cached says %v", step, wantErr, gotErr)
		}
	}
	assert.Greater(t, accepted, 2000)
	for _, reason := range []error{tokens.ErrExpired, tokens.ErrNotYetValid, tokens.ErrSignature, tokens.ErrUnknownKey, tokens.ErrType, tokens.ErrMalformed} {
		found := 0
		for text, count := range reasons {
			if strings.HasPrefix(text, reason.Error()) {
				found += count
			}
		}
		assert.Greater(t, found, 50, "the set holds too few cases of: %v", reason)
	}
}

// TestCacheKeepsItsBound: tokens that come once, such as those of a user who logs in again and
// again, fill the memory up to CacheBytes and not beyond, whichever of their claims are long.
func TestCacheKeepsItsBound(t *testing.T) {
	const bound = 1 << 20
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	const long = 1500
	plain := map[string]string{"iss": issuerURL, "aud": "api", "sub": "65f0c0ffee65f0c0ffee0001", "client_id": "app", "sid": "session", "jti": "id"}
	for _, member := range []string{"", "iss", "aud", "sub", "client_id", "sid", "jti", "many audiences"} {
		t.Run("long "+member, func(t *testing.T) {
			k := newKit(t)
			issuer := issuerURL
			if member == "iss" {
				issuer += "/" + strings.Repeat("i", long)
			}
			verifier, err := tokens.NewVerifier(tokens.VerifierConfig{
				Keys: k.keys, Issuer: issuer, Audience: "api", CacheBytes: bound, Now: func() time.Time { return k.now },
			})
			require.NoError(t, err)
			count := bound / 1000
			if member == "" {
				count = 3 * bound / 830
			}
			before := heap()
			for i := range count {
				payload := map[string]any{"gen": 1, "iat": epoch.Unix(), "exp": epoch.Unix() + 60}
				for name, value := range plain {
					payload[name] = value
				}
				switch member {
				case "":
				case "iss":
					payload["iss"] = issuer
				case "aud":
					payload["aud"] = []string{"api", strings.Repeat("x", long)}
				case "many audiences":
					others := []string{"api"}
					for j := range 150 {
						others = append(others, fmt.Sprint(j))
					}
					payload["aud"] = others
				default:
					payload[member] = strings.Repeat("x", long)
				}
				payload["jti"] = fmt.Sprintf("%s%022d", payload["jti"], i)
				text, err := json.Marshal(payload)
				require.NoError(t, err)
				_, err = verifier.Verify(t.Context(), signParts(fmt.Sprintf(`{"alg":"HS512","typ":"at+jwt","kid":%q}`, k.key.ID()), string(text)))
				require.NoError(t, err)
			}
			taken := float64(heap()) - float64(before)
			t.Logf("%.0f KiB", taken/1024)
			assert.InDelta(t, bound, taken, bound/4, "bytes of the cache")
			runtime.KeepAlive(verifier)
		})
	}
}

func TestCacheForgetsRemovedKeys(t *testing.T) {
	first, second := generate(t, tokens.HS512), generate(t, tokens.HS512)
	k := newKit(t, first, second)
	token, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	require.NoError(t, k.verify(token))
	require.NoError(t, k.verify(token))
	require.NoError(t, k.keys.Replace(second))
	assert.ErrorIs(t, k.verify(token), tokens.ErrUnknownKey)
	require.NoError(t, k.keys.Replace(second, first))
	assert.NoError(t, k.verify(token))
}

// TestCacheRace verifies tokens while keys change. It is for the race detector.
func TestCacheRace(t *testing.T) {
	first, second := generate(t, tokens.HS512), generate(t, tokens.HS512)
	k := newKit(t, first, second)
	token, err := k.issuer.SignAccess(claims)
	require.NoError(t, err)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 2000 {
				if err := k.verify(token); err != nil && !errors.Is(err, tokens.ErrUnknownKey) {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		require.NoError(t, k.keys.Replace(second))
		require.NoError(t, k.keys.Replace(second, first))
	}
	readers.Wait()
	assert.NoError(t, k.verify(token))
}
