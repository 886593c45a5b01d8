package password

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFailedLoginLacksTheRestOfANewHash(t *testing.T) {
	var h Hasher
	assert.Equal(t, 2.0, h.lacking(2, time.Minute), "nobody knows the time of a new hash yet")
	h.learn(100 * time.Millisecond)
	for _, test := range []struct {
		forms int
		spent time.Duration
		want  float64
	}{
		{1, 0, 1},
		{1, 25 * time.Millisecond, 0.75},
		{1, 100 * time.Millisecond, 0},
		{1, time.Second, 0},
		{2, 50 * time.Millisecond, 1.5},
		{2, 200 * time.Millisecond, 0},
	} {
		assert.InDelta(t, test.want, h.lacking(test.forms, test.spent), 1e-9, "%+v", test)
	}
	for range 100 {
		h.learn(200 * time.Millisecond)
	}
	assert.InDelta(t, 0.5, h.lacking(1, 100*time.Millisecond), 0.01, "the last ones weigh most")
	h.learn(-time.Hour) // a clock that went back
	assert.Zero(t, h.lacking(1, time.Second))
}

// TestHashSaysWhatMemoryItNeeds: the budget counts on it.
func TestHashSaysWhatMemoryItNeeds(t *testing.T) {
	const argonKey, scryptKey = "$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "$iuYV0a7tlA0/CnwmInoT1f3TItS+TwjP7tZH8ubt9Oc"
	h, err := New(Config{})
	require.NoError(t, err)
	for _, text := range []string{
		"$argon2id$v=19$m=2048,t=1,p=1$c29tZXNhbHQ" + argonKey,
		"$argon2id-sha224$v=19$m=2048,t=1,p=2$c29tZXNhbHQ" + argonKey,
		"$scrypt$ln=11,r=8,p=1$c29tZXNhbHQ" + scryptKey, // all parts share the memory of one
		"$scrypt$ln=10,r=8,p=16$c29tZXNhbHQ" + scryptKey,
		"$scrypt$ln=1,r=4,p=4096$c29tZXNhbHQ" + scryptKey, // it begins and ends with 128 bytes for each r and p
	} {
		hash, err := h.config.parse(text)
		require.NoError(t, err, text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		require.False(t, hash.matches("guess"))
		runtime.ReadMemStats(&after)
		assert.InEpsilon(t, (after.TotalAlloc-before.TotalAlloc)/1024, hash.needs(), 0.05, text)
	}
}

// countingHash is a hash of another system that counts its work.
type countingHash struct{ matched []string }

func (*countingHash) needs() uint32            { return 0 }
func (*countingHash) isTooCostly(*Config) bool { return false }

func (c *countingHash) matches(password string) bool {
	c.matched = append(c.matched, password)
	return false
}

// TestEachFailedLoginDoesTheSameWork: one new hash for each form of the password and, with an OldHash,
// one of that as well. A process that has just begun knows no times, and is no exception.
func TestEachFailedLoginDoesTheSameWork(t *testing.T) {
	h, err := New(Config{Memory: 4096, Iterations: 1})
	require.NoError(t, err)
	current, err := h.Hash(t.Context(), "secret")
	require.NoError(t, err)
	assert.Positive(t, h.usual.Load(), "a new hash shows how long it takes")
	for _, guess := range []string{"guess", "gue\u0301ss"} {
		forms := formsOf(guess)
		for _, old := range []*countingHash{nil, {}} {
			for name, text := range map[string]string{"no account": "", "current": current} {
				h.usual.Store(0)
				h.old = nil
				if old != nil {
					old.matched, h.old = nil, old
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				match, _, err := h.Verify(t.Context(), guess, func() (string, error) { return text, nil })
				runtime.ReadMemStats(&after)
				require.NoError(t, err)
				require.False(t, match)
				assert.InDelta(t, 4096*len(forms), (after.TotalAlloc-before.TotalAlloc)/1024, 512, "%s, %q", name, guess)
				if old != nil {
					assert.Equal(t, forms, old.matched, name)
				}
			}
		}
	}
}

// TestFailedLoginOfCheapHashIsToppedUp takes the memory of a hash for its work.
func TestFailedLoginOfCheapHashIsToppedUp(t *testing.T) {
	h, err := New(Config{Memory: 4096, Iterations: 2})
	require.NoError(t, err)
	for name, hash := range map[string]string{
		"bcrypt":        "$2a$04$dIf.ZbFUovdYwX3EZpCuru6sQHOmKjaCOUfo9RbKGhXyAIyylLGyq",
		"pbkdf2":        "pbkdf2_sha1$1000$seaSALT12$6EQztTp6bFzr1qcQc7i2VXwee4o=",
		"scrypt":        "$scrypt$ln=4,r=8,p=1$KCWEkJISovQ+Z0yJ8Z7T2g$d5mZenf4Z/MlBO7+IpZ1BcwfR5fuvkiBgq16Pqy1MGE",
		"small wrapped": "$argon2id-sha224$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MCyRpM1kngsaS8BfI5LBIvUcuJWk4g29xArlNsna6n8",
		"small argon2":  "$argon2id$v=19$m=64,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MCyRpM1kngsaS8BfI5LBIvUcuJWk4g29xArlNsna6n8",
	} {
		for usual, want := range map[time.Duration]int{time.Hour: 4096, time.Nanosecond: 0} {
			h.usual.Store(int64(usual))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			match, _, err := h.Verify(t.Context(), "guess", func() (string, error) { return hash, nil })
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			require.False(t, match)
			assert.InDelta(t, want, (after.TotalAlloc-before.TotalAlloc)/1024, 512, "%s, a new hash takes %v", name, usual)
		}
	}
}
