package tokens

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzParsePublished: whatever an issuer answers, parsePublished returns only public
// keys of the allowed algorithms.
func FuzzParsePublished(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"oct","kid":"a","k":"AAAA"},{"kty":"EC","kid":"b","crv":"P-256","x":"","y":""},null]}`))
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","kid":"a","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":null}`))
	const ed = `{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	f.Add([]byte(`{"keys":[` + ed + `,` + ed + `]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, repeated, err := parsePublished(text, []Algorithm{EdDSA, ES256})
		if err != nil {
			require.Empty(t, keys)
			return
		}
		_, err = newKeySet(keys)
		require.NoError(t, err, "the keys can be put in force")
		for _, key := range keys {
			require.NotContains(t, repeated, key.ID())
			require.False(t, key.CanSign())
			require.Contains(t, []Algorithm{EdDSA, ES256}, key.Algorithm())
		}
	})
}

// TestUnknownIDsAreForgotten: tokens with many different key ids cannot fill the memory.
// The test looks at unexported fields, because the exported API does not show how many
// ids are remembered.
func TestUnknownIDsAreForgotten(t *testing.T) {
	now := time.Unix(0, 0)
	f := newFetches(time.Minute, func() time.Time { return now })
	f.end(&keySet{}, nil) // the first fetch
	asked := 0
	for round := range 4 {
		now = now.Add(10 * time.Second * fetchBurst) // a short step: earlier ids are still remembered
		for range fetchBurst {
			for i := range maxAbsent + 100 {
				if f.join(fmt.Sprint(round, asked, i)) != nil {
					asked++
				}
			}
			f.begin()
			f.end(&keySet{}, nil)
			require.LessOrEqual(t, len(f.absent), maxAbsent)
		}
	}
	assert.Greater(t, asked, 2*maxAbsent, "the test must ask for more ids than can be remembered")
}

// TestOnlyOldUnknownIDsMakeRoom: the tokens of a key that has just not come cause no fetch,
// however many other ids are remembered.
func TestOnlyOldUnknownIDsMakeRoom(t *testing.T) {
	now := time.Unix(0, 0)
	f := newFetches(time.Minute, func() time.Time { return now })
	f.end(&keySet{}, nil) // the first fetch
	fetch := func(name string, ids int) {
		for i := range ids {
			require.NotNil(t, f.join(fmt.Sprint(name, i)))
		}
		f.begin()
		f.end(&keySet{}, nil)
	}
	fetch("old", maxAbsent-10)
	now = now.Add(40 * time.Second)
	fetch("recent", 10)
	now = now.Add(40 * time.Second)
	fetch("new", 10)
	for _, name := range []string{"recent", "new"} {
		for i := range 10 {
			assert.Nil(t, f.join(fmt.Sprint(name, i)), name)
		}
	}
}

// TestKeyThatHasJustComeCausesNoFetch: a fetch can bring the key of a token after the first look
// for it, and before the token asks for a fetch. The second look then finds the key.
func TestKeyThatHasJustComeCausesNoFetch(t *testing.T) {
	key, err := GenerateKey(EdDSA)
	require.NoError(t, err)
	set, err := newKeySet([]*Key{key})
	require.NoError(t, err)
	f := newFetches(time.Minute, time.Now)
	f.end(set, nil) // the first fetch
	assert.Nil(t, f.join(key.ID()))
	assert.NotNil(t, f.join("another key"))
}
