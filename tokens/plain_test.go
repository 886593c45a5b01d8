package tokens

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These tests are inside the package, because no caller sees which of two ways read a payload.

var plainPayload = string(must(newTestExpectation().appendPayload(nil, &Claims{
	Subject: "65f0c0ffee65f0c0ffee0001", ClientID: "app", SessionID: "AAECAwQFBgcICQoLDA0ODw", Generation: 7, Expiry: time.Unix(1_800_000_000, 0),
}, time.Unix(1_790_000_000, 0))))

func newTestExpectation() *expectation {
	e := newExpectation("https://login.example.org", "https://api.example.org")
	return &e
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// assertReadAlike checks that readPlain reads nothing, or what the JSON package reads.
func assertReadAlike(t *testing.T, payload string) (plain bool) {
	t.Helper()
	memory := append(make([]byte, 0, 4*len(payload)+64), payload...)
	untouched := wireClaims{Subject: "unchanged"}
	fast := untouched
	plain = readPlain(memory, &fast)
	require.Equal(t, payload, string(memory), "the payload is unchanged")
	if !plain {
		require.Equal(t, untouched, fast)
		return false
	}
	var slow wireClaims
	require.NoError(t, json.Unmarshal([]byte(payload), &slow), payload)
	fast.Unknown = slow.Unknown // nil and empty are alike
	require.Empty(t, slow.Unknown)
	require.Equal(t, slow, fast, payload)
	return true
}

// TestPayloadsOfIssuersArePlain: what an Issuer writes is read the short way.
func TestPayloadsOfIssuersArePlain(t *testing.T) {
	assert.True(t, assertReadAlike(t, plainPayload))
}

// TestChangedPayloadIsReadAlike changes, drops and doubles each byte of a payload in turn.
func TestChangedPayloadIsReadAlike(t *testing.T) {
	for at := range len(plainPayload) {
		assertReadAlike(t, plainPayload[:at])
		assertReadAlike(t, plainPayload[:at]+plainPayload[at+1:])
		assertReadAlike(t, plainPayload[:at]+plainPayload[at:at+1]+plainPayload[at:])
		for _, c := range []byte("\x00\x1f \"\\0919,:{}azAZ~\x7f\x80\xc3\xff") {
			assertReadAlike(t, plainPayload[:at]+string(c)+plainPayload[at+1:])
			assertReadAlike(t, plainPayload[:at]+string([]byte{c})+plainPayload[at:])
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		from, to := random.IntN(len(plainPayload)), random.IntN(len(plainPayload))
		assertReadAlike(t, plainPayload[:from]+plainPayload[to:])
	}
}

func FuzzReadPlain(f *testing.F) {
	f.Add(plainPayload)
	f.Add(`{"iss":"","aud":"","sub":"","client_id":"","sid":"","jti":"","gen":1,"iat":999999999999999999,"exp":1}`)
	f.Fuzz(func(t *testing.T, payload string) { assertReadAlike(t, payload) })
}
