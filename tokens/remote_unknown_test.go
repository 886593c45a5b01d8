package tokens_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// clock is a clock that a test turns on.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() time.Time          { return epoch.Add(time.Duration(c.seconds.Load()) * time.Second) }
func (c *clock) advance(d time.Duration) { c.seconds.Add(int64(d / time.Second)) }

// TestRemoteVerifierRemembersUnknownKeys: one fetch tells that a key is unknown,
// however many tokens name it.
func TestRemoteVerifierRemembersUnknownKeys(t *testing.T) {
	first, second, third := generate(t, tokens.EdDSA), generate(t, tokens.EdDSA), generate(t, tokens.EdDSA)
	p := publish(t)
	p.keys(t, first)
	clock := new(clock)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) {
		c.Interval, c.RetryInterval, c.Now, c.Leeway = time.Hour, time.Minute, clock.now, time.Hour
	})
	_, err := remote.Verify(t.Context(), sign1(t, first))
	require.NoError(t, err)
	unknown := sign1(t, third)
	for range 3 {
		fetches := p.fetches.Load()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				for range 10 {
					_, err := remote.Verify(t.Context(), unknown)
					assert.ErrorIs(t, err, tokens.ErrUnknownKey)
				}
			})
		}
		all.Wait()
		assert.Equal(t, fetches+1, p.fetches.Load())
		clock.advance(time.Minute)
	}
	fetches := p.fetches.Load()
	for _, header := range []string{
		`{"alg":"EdDSA","typ":"at+jwt"}`, `{"alg":"EdDSA","typ":"at+jwt","kid":"` + strings.Repeat("k", 300) + `"}`,
	} {
		_, err := remote.Verify(t.Context(), sign(header, "{}"))
		assert.ErrorIs(t, err, tokens.ErrUnknownKey, "no key can have such an id")
	}
	assert.Equal(t, fetches, p.fetches.Load())

	_, err = remote.Verify(t.Context(), unknown)
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
	p.keys(t, first, second, third)
	_, err = remote.Verify(t.Context(), unknown)
	assert.ErrorIs(t, err, tokens.ErrUnknownKey, "it was asked for a moment ago")
	_, err = remote.Verify(t.Context(), sign1(t, second))
	assert.NoError(t, err, "a new key is fetched when its first token comes")
	_, err = remote.Verify(t.Context(), unknown)
	assert.NoError(t, err, "the fetch for another key has brought it")
}

// TestRemoteVerifierAllowsABurst: who sends tokens of unknown keys does not keep a
// new key away for a whole interval, and does not make more fetches than allowed.
func TestRemoteVerifierAllowsABurst(t *testing.T) {
	first := generate(t, tokens.EdDSA)
	p := publish(t)
	p.keys(t, first)
	clock := new(clock)
	remote := newRemote(t, p, func(c *tokens.RemoteConfig) {
		c.Interval, c.RetryInterval, c.Now, c.Leeway = time.Hour, time.Minute, clock.now, 24*time.Hour
	})
	// A token as anybody can make one up.
	foreign := func(id string) string { return sign(`{"alg":"EdDSA","typ":"at+jwt","kid":"`+id+`"}`, "{}") }
	send := func(round string, count int) {
		t.Helper()
		for i := range count {
			_, err := remote.Verify(t.Context(), foreign(fmt.Sprint(round, i)))
			require.ErrorIs(t, err, tokens.ErrUnknownKey)
		}
	}
	_, err := remote.Verify(t.Context(), sign1(t, first))
	require.NoError(t, err)
	send("first", 1)
	require.EqualValues(t, 2, p.fetches.Load(), "one to begin with, and one for the token")
	send("some", 3)
	second := generate(t, tokens.EdDSA)
	p.keys(t, second)
	_, err = remote.Verify(t.Context(), sign1(t, second))
	assert.NoError(t, err, "in spite of the others")

	send("many", 50)
	assert.EqualValues(t, 6, p.fetches.Load(), "one to begin with, and a burst")
	third := generate(t, tokens.EdDSA)
	p.keys(t, third)
	_, err = remote.Verify(t.Context(), sign1(t, third))
	assert.ErrorIs(t, err, tokens.ErrUnknownKey)
	clock.advance(59 * time.Second)
	send("later", 50)
	assert.EqualValues(t, 6, p.fetches.Load())
	clock.advance(time.Second)
	_, err = remote.Verify(t.Context(), sign1(t, third))
	assert.NoError(t, err)
	send("later still", 50)
	assert.EqualValues(t, 7, p.fetches.Load())
	clock.advance(time.Hour)
	send("much later", 50)
	assert.EqualValues(t, 12, p.fetches.Load(), "no more than a burst is saved up")
	clock.advance(-2 * time.Hour)
	send("the clock is set back", 50)
	assert.EqualValues(t, 12, p.fetches.Load())
	clock.advance(time.Minute)
	send("and goes on", 50)
	assert.EqualValues(t, 13, p.fetches.Load())
}
