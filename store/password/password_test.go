package password_test

import (
	"context"
	"encoding/base64"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"

	"github.com/oauthsv/oauthsv/store/password"
)

func newHasher(t testing.TB, config password.Config) *password.Hasher {
	t.Helper()
	hasher, err := password.New(config)
	require.NoError(t, err)
	return hasher
}

// stored returns a look-up that finds the hash.
func stored(hash string) func() (string, error) {
	return func() (string, error) { return hash, nil }
}

var cheap = password.Config{Memory: 8, Iterations: 1}

func TestHashesAreSalted(t *testing.T) {
	hasher := newHasher(t, cheap)
	first, err := hasher.Hash(t.Context(), "secret")
	require.NoError(t, err)
	second, err := hasher.Hash(t.Context(), "secret")
	require.NoError(t, err)
	assert.NotEqual(t, first, second)
}

// TestKnownHash verifies a hash from another implementation of argon2id.
func TestKnownHash(t *testing.T) {
	const hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	match, outdated, err := newHasher(t, cheap).Verify(t.Context(), "password", stored(hash))
	require.NoError(t, err)
	assert.True(t, match)
	assert.True(t, outdated)
}

func TestVerifyTellsOutdatedCosts(t *testing.T) {
	old := newHasher(t, cheap)
	hash, err := old.Hash(t.Context(), "secret")
	require.NoError(t, err)
	for name, config := range map[string]password.Config{
		"memory":      {Memory: 16, Iterations: 1},
		"iterations":  {Memory: 8, Iterations: 2},
		"parallelism": {Memory: 16, Iterations: 1, Parallelism: 2},
	} {
		match, outdated, err := newHasher(t, config).Verify(t.Context(), "secret", stored(hash))
		require.NoError(t, err, name)
		assert.True(t, match, name)
		assert.True(t, outdated, name)
	}
	_, outdated, err := old.Verify(t.Context(), "secret", stored(hash))
	require.NoError(t, err)
	assert.False(t, outdated)

	for _, test := range []struct {
		salt, key int
		outdated  bool
	}{{16, 32, false}, {15, 32, true}, {17, 32, true}, {16, 31, true}, {16, 33, true}} {
		salt := make([]byte, test.salt)
		key := argon2.IDKey([]byte("secret"), salt, 1, 8, 1, uint32(test.key))
		encode := base64.RawStdEncoding.EncodeToString
		match, outdated, err := old.Verify(t.Context(), "secret", stored("$argon2id$v=19$m=8,t=1,p=1$"+encode(salt)+"$"+encode(key)))
		require.NoError(t, err)
		assert.True(t, match)
		assert.Equal(t, test.outdated, outdated, "%+v", test)
	}
}

func TestEmptyHashMatchesNothing(t *testing.T) {
	hasher := newHasher(t, cheap)
	for _, attempt := range []string{"", "secret"} {
		match, outdated, err := hasher.Verify(t.Context(), attempt, stored(""))
		require.NoError(t, err)
		assert.False(t, match)
		assert.False(t, outdated)
	}
}

func TestVerifyRefusesHash(t *testing.T) {
	hasher := newHasher(t, cheap)
	good, err := hasher.Hash(t.Context(), "secret")
	require.NoError(t, err)
	replace := func(old, new string) string {
		require.Contains(t, good, old)
		return strings.Replace(good, old, new, 1)
	}
	for name, test := range map[string]struct {
		hash string
		want error
	}{
		"md5-crypt":            {"$1$5pZSV9va$azfrPr6af3Fc7dLblQXVa0", password.ErrHash},
		"argon2i":              {replace("argon2id", "argon2i"), password.ErrHash},
		"version":              {replace("v=19", "v=16"), password.ErrHash},
		"order":                {replace("m=8,t=1", "t=1,m=8"), password.ErrHash},
		"leading zero":         {replace("m=8", "m=08"), password.ErrHash},
		"plus sign":            {replace("m=8", "m=+8"), password.ErrHash},
		"no iterations":        {replace("t=1", "t=0"), password.ErrHash},
		"too little memory":    {replace("m=8", "m=7"), password.ErrHash},
		"too many lanes":       {replace("p=1", "p=256"), password.ErrHash},
		"short salt":           {"$argon2id$v=19$m=8,t=1,p=1$AAAA$" + strings.Repeat("A", 43), password.ErrHash},
		"no key":               {good[:strings.LastIndex(good, "$")+1], password.ErrHash},
		"field more":           {good + "$", password.ErrHash},
		"line break":           {good + "\n", password.ErrHash},
		"memory beyond max":    {replace("m=8", "m=131073"), password.ErrTooCostly},
		"memory absurd":        {replace("m=8", "m=4294967295"), password.ErrTooCostly},
		"iterations beyond":    {replace("t=1", "t=17"), password.ErrTooCostly},
		"lanes beyond the max": {replace("m=8,t=1,p=1", "m=1024,t=1,p=17"), password.ErrTooCostly},
	} {
		t.Run(name, func(t *testing.T) {
			match, _, err := hasher.Verify(t.Context(), "secret", stored(test.hash))
			require.ErrorIs(t, err, test.want)
			assert.False(t, match)
		})
	}
}

// TestOverload checks many callers with one turn and room for few to wait. Some are refused
// at once, and the others are served.
func TestOverload(t *testing.T) {
	config := password.Config{Memory: 8 * 1024, Iterations: 8, MaxMemory: 8 * 1024, Budget: 8 * 1024, MaxWaiting: 1}
	hasher := newHasher(t, config)
	var all sync.WaitGroup
	errs := make([]error, 32)
	for i := range errs {
		all.Go(func() { _, errs[i] = hasher.Hash(t.Context(), "secret") })
	}
	all.Wait()
	served, refused := 0, 0
	for _, err := range errs {
		if err == nil {
			served++
			continue
		}
		assert.ErrorIs(t, err, password.ErrOverloaded)
		refused++
	}
	assert.Positive(t, served)
	assert.Positive(t, refused)
	_, err := hasher.Hash(t.Context(), "secret")
	assert.NoError(t, err, "the turns came back")
}

// TestVerifyLooksUpInItsTurn checks that nothing is looked up for a caller who gets no turn.
func TestVerifyLooksUpInItsTurn(t *testing.T) {
	hasher := newHasher(t, password.Config{Memory: 8, Iterations: 1, MaxMemory: 8, Budget: 8, MaxWaiting: 1})
	looks := make(chan struct{}, 10)
	leave := make(chan struct{})
	find := func() (string, error) {
		looks <- struct{}{}
		<-leave
		return "", nil
	}
	verify := func(ctx context.Context) error {
		_, _, err := hasher.Verify(ctx, "secret", find)
		return err
	}
	first, second := make(chan error), make(chan error)
	go func() { first <- verify(t.Context()) }()
	<-looks // the only turn is taken
	ctx, giveUp := context.WithCancel(t.Context())
	go func() {
		err := verify(ctx)
		for errors.Is(err, password.ErrOverloaded) { // the third caller was in its place for a moment
			err = verify(ctx)
		}
		second <- err
	}()
	over, cancel := context.WithCancel(t.Context())
	cancel() // so that the third caller does not take the place of the second
	for third := verify(over); !errors.Is(third, password.ErrOverloaded); third = verify(over) {
		require.ErrorIs(t, third, context.Canceled)
	}
	giveUp()
	assert.ErrorIs(t, <-second, context.Canceled)
	assert.Empty(t, looks)
	close(leave)
	require.NoError(t, <-first)

	lost := errors.New("the database is away")
	_, _, err := hasher.Verify(t.Context(), "secret", func() (string, error) { return "", lost })
	assert.Equal(t, lost, err)
	_, err = hasher.Hash(t.Context(), "secret")
	assert.NoError(t, err, "the turn came back")
}

// TestVerifyBiggerHash checks stored hashes that need more memory than a new one. While one
// waits for the larger part of the budget, it holds no smaller one.
func TestVerifyBiggerHash(t *testing.T) {
	big := newHasher(t, password.Config{Memory: 64, Iterations: 1})
	hash, err := big.Hash(t.Context(), "correct horse")
	require.NoError(t, err)
	small := newHasher(t, password.Config{Memory: 8, Iterations: 1, MaxMemory: 64, Budget: 64})
	var all sync.WaitGroup
	for range 8 {
		for _, hash := range []string{hash, scryptOf64KiB} {
			all.Go(func() {
				match, outdated, err := small.Verify(t.Context(), "correct horse", stored(hash))
				assert.NoError(t, err)
				assert.True(t, match && outdated)
			})
		}
	}
	all.Wait()
}

// TestBiggerHashIsGivenUp: the caller who waits for the larger part has given back the smaller one,
// and gives back no more.
func TestBiggerHashIsGivenUp(t *testing.T) {
	big := newHasher(t, password.Config{Memory: 64, Iterations: 1})
	hash, err := big.Hash(t.Context(), "correct horse")
	require.NoError(t, err)
	before := runtime.GOMAXPROCS(3) // two turns at once
	small := newHasher(t, password.Config{Memory: 8, Iterations: 1, MaxMemory: 64, Budget: 64})
	runtime.GOMAXPROCS(before)
	arrived, leave, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		_, _, err := small.Verify(t.Context(), "secret", func() (string, error) {
			close(arrived)
			<-leave
			return "", nil
		})
		done <- err
	}()
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = small.Verify(ctx, "correct horse", func() (string, error) {
		cancel()
		return hash, nil
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.EqualValues(t, 1, small.Counts().Running)
	close(leave)
	require.NoError(t, <-done)
	assert.Zero(t, small.Counts().Running)
	match, _, err := small.Verify(t.Context(), "correct horse", stored(hash))
	require.NoError(t, err)
	assert.True(t, match)
}

// TestOldHashWaitsForItsMemory: a failed login does the work of the old hash, so it waits for the memory
// of that from the start.
func TestOldHashWaitsForItsMemory(t *testing.T) {
	before := runtime.GOMAXPROCS(3) // two turns at once, if there is memory
	hasher := newHasher(t, password.Config{Memory: 8, Iterations: 1, MaxMemory: 65, Budget: 65, OldHash: scryptOf64KiB})
	runtime.GOMAXPROCS(before)
	looks, leave := make(chan struct{}, 2), make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			_, _, err := hasher.Verify(t.Context(), "secret", func() (string, error) {
				looks <- struct{}{}
				<-leave
				return "", nil
			})
			assert.NoError(t, err)
		})
	}
	<-looks
	for counts := hasher.Counts(); counts.Running+counts.Waiting < 2; counts = hasher.Counts() {
		runtime.Gosched()
	}
	assert.EqualValues(t, 1, hasher.Counts().Waiting)
	close(leave)
	all.Wait()
}

// TestHashingLeavesACore counts how many hashes run at once: one fewer than there are cores, or as
// many as the budget has room for. As many others as MaxWaiting says wait, and the next is refused.
func TestHashingLeavesACore(t *testing.T) {
	for _, test := range []struct {
		cores   int
		config  password.Config
		running int
	}{
		{1, cheap, 1},
		{2, cheap, 1},
		{3, cheap, 2},
		{4, cheap, 3},
		{8, cheap, 7},
		{10, password.Config{Memory: 8, MaxMemory: 8, Budget: 80}, 9},
		{4, password.Config{Memory: 8, MaxMemory: 8, Budget: 16}, 2},
		{8, password.Config{Memory: 64 * 1024}, 4},
		{8, password.Config{Memory: 64*1024 + 1}, 3},
		{8, password.Config{Memory: 64*1024 + 1, MaxMemory: 320 * 1024}, 4},
	} {
		before := runtime.GOMAXPROCS(test.cores)
		hasher := newHasher(t, test.config)
		runtime.GOMAXPROCS(before)
		waiting := 128 * max(1, test.cores-1)
		leave := make(chan struct{})
		away := errors.New("the database is away")
		find := func() (string, error) {
			<-leave
			return "", away // which costs no hash
		}
		var all sync.WaitGroup
		for range test.running + waiting {
			all.Go(func() {
				_, _, err := hasher.Verify(t.Context(), "secret", find)
				assert.Equal(t, away, err)
			})
		}
		counts := hasher.Counts()
		for counts.Running+counts.Waiting+counts.Refused < int64(test.running+waiting) {
			runtime.Gosched()
			counts = hasher.Counts()
		}
		assert.EqualValues(t, test.running, counts.Running, "%+v", test)
		ended, cancel := context.WithCancel(t.Context())
		cancel() // so that it does not wait
		_, err := hasher.Hash(ended, "secret")
		assert.ErrorIs(t, err, password.ErrOverloaded, "%+v", test)
		close(leave)
		all.Wait()
	}
}

func TestConfigurationErrorsNameEachField(t *testing.T) {
	_, err := password.New(password.Config{
		Memory: 7, MaxMemory: 6, Budget: 5, MaxWaiting: -1, MaxBcryptCost: 32, MaxPBKDF2Iterations: -1, OldHash: "$1$",
	})
	for _, field := range []string{"Memory", "MaxMemory", "Budget", "MaxWaiting", "MaxBcryptCost", "MaxPBKDF2Iterations", "OldHash"} {
		assert.ErrorContains(t, err, field)
	}
}

// TestConfigurationBounds has the last value of each field that is taken, and the first that is
// refused.
func TestConfigurationBounds(t *testing.T) {
	for _, test := range []struct {
		config password.Config
		wrong  string // a field, or empty if the configuration is right
	}{
		{password.Config{Memory: 8}, ""},
		{password.Config{Memory: 7}, "Memory is 7"},
		{password.Config{Memory: 24, Parallelism: 3}, ""},
		{password.Config{Memory: 23, Parallelism: 3}, "Memory is 23"},
		{password.Config{Memory: 32, MaxMemory: 32}, ""},
		{password.Config{Memory: 32, MaxMemory: 31}, "MaxMemory (31)"},
		{password.Config{Iterations: 3, MaxIterations: 3}, ""},
		{password.Config{Iterations: 3, MaxIterations: 2}, "MaxIterations (2)"},
		{password.Config{Parallelism: 3, MaxParallelism: 3}, ""},
		{password.Config{Parallelism: 3, MaxParallelism: 2}, "MaxParallelism (2)"},
		{password.Config{Memory: 200_000, Iterations: 17, Parallelism: 17}, ""}, // the maxima are as high by default
		{password.Config{MaxMemory: 300_000}, ""},                               // the budget too
		{password.Config{Memory: 8, MaxMemory: 64, Budget: 64}, ""},
		{password.Config{Memory: 8, MaxMemory: 64, Budget: 63}, "Budget is 63"},
		{password.Config{MaxBcryptCost: 4}, ""},
		{password.Config{MaxBcryptCost: 3}, "MaxBcryptCost is 3"},
		{password.Config{MaxBcryptCost: 31}, ""},
		{password.Config{MaxBcryptCost: 32}, "MaxBcryptCost is 32"},
		{password.Config{MaxPBKDF2Iterations: 1}, ""},
		{password.Config{MaxPBKDF2Iterations: -1}, "MaxPBKDF2Iterations is -1"},
		{password.Config{MaxWaiting: 1}, ""},
		{password.Config{MaxWaiting: -1}, "MaxWaiting is -1"},
	} {
		_, err := password.New(test.config)
		if test.wrong == "" {
			assert.NoError(t, err, "%+v", test.config)
		} else {
			assert.ErrorContains(t, err, test.wrong)
		}
	}
}

// TestBoundsOfStoredHashes has the last length and the last cost that is taken, and the first
// that is refused. The costs are those of a Config that says nothing.
func TestBoundsOfStoredHashes(t *testing.T) {
	hasher := newHasher(t, password.Config{})
	bytes := func(n int) string { return base64.RawStdEncoding.EncodeToString(make([]byte, n)) }
	argon2id := func(costs string, salt, key int) string {
		return "$argon2id$v=19$" + costs + "$" + bytes(salt) + "$" + bytes(key)
	}
	bcrypt := func(cost string) string { return "$2b$" + cost + "$" + strings.Repeat("a", 53) }
	pbkdf2 := func(iterations string) string {
		return "pbkdf2_sha1$" + iterations + "$salt$6EQztTp6bFzr1qcQc7i2VXwee4o="
	}
	const cheap = "m=8,t=1,p=1"
	for hash, want := range map[string]error{
		argon2id(cheap, 7, 32):                  password.ErrHash,
		argon2id(cheap, 8, 32):                  nil,
		argon2id(cheap, 48, 32):                 nil,
		argon2id(cheap, 49, 32):                 password.ErrHash,
		argon2id(cheap, 16, 15):                 password.ErrHash,
		argon2id(cheap, 16, 16):                 nil,
		argon2id(cheap, 16, 64):                 nil,
		argon2id(cheap, 16, 65):                 password.ErrHash,
		argon2id("m=23,t=1,p=3", 16, 32):        password.ErrHash,
		argon2id("m=24,t=1,p=3", 16, 32):        nil,
		argon2id("m=131072,t=16,p=16", 16, 32):  nil,
		argon2id("m=131073,t=16,p=16", 16, 32):  password.ErrTooCostly,
		argon2id("m=131072,t=17,p=16", 16, 32):  password.ErrTooCostly,
		argon2id("m=131072,t=16,p=17", 16, 32):  password.ErrTooCostly,
		bcrypt("14"):                            nil,
		bcrypt("15"):                            password.ErrTooCostly,
		pbkdf2("5000000"):                       nil,
		pbkdf2("5000001"):                       password.ErrTooCostly,
		"$scrypt$ln=17,r=8,p=1$AA$" + bytes(16): nil,
		"$scrypt$ln=17,r=8,p=1$AA$" + bytes(15): password.ErrHash,
		"$scrypt$ln=17,r=8,p=1$AA$" + bytes(64): nil,
		"$scrypt$ln=17,r=8,p=1$AA$" + bytes(65): password.ErrHash,
		"$scrypt$ln=17,r=9,p=1$AA$" + bytes(16): password.ErrTooCostly,
		"scrypt$2$salt$8$1$" + bytes(33):        nil,
		"scrypt$1$salt$8$1$" + bytes(33):        password.ErrHash,
		"scrypt$131072$salt$8$1$" + bytes(33):   nil,
		"scrypt$262144$salt$8$1$" + bytes(33):   password.ErrTooCostly,
		"":                                      nil, // no password at all
	} {
		if want == nil {
			assert.NoError(t, hasher.Check(hash), hash)
		} else {
			assert.ErrorIs(t, hasher.Check(hash), want, hash)
		}
	}
}

// TestOldHashIsOfAnotherSystem: the work of a new hash is done anyway.
func TestOldHashIsOfAnotherSystem(t *testing.T) {
	ours, err := newHasher(t, cheap).Hash(t.Context(), "secret")
	require.NoError(t, err)
	for _, old := range []string{ours, "malformed", "$2a$15$dIf.ZbFUovdYwX3EZpCuru6sQHOmKjaCOUfo9RbKGhXyAIyylLGyq"} {
		_, err := password.New(password.Config{OldHash: old})
		assert.ErrorContains(t, err, "OldHash", old)
	}
}

func FuzzVerify(f *testing.F) {
	hasher := newHasher(f, password.Config{
		Memory: 8, Iterations: 1, MaxMemory: 64, MaxIterations: 2, MaxParallelism: 2, MaxBcryptCost: 4, MaxPBKDF2Iterations: 10,
	})
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	for _, known := range knownHashes {
		f.Add(known.hash)
		f.Add(strings.Replace(known.hash, "$1000$", "$10$", 1))
	}
	f.Fuzz(func(t *testing.T, hash string) {
		match, outdated, err := hasher.Verify(context.Background(), "correct horse", stored(hash))
		if !match {
			return
		}
		require.NoError(t, err)
		require.Equal(t, !strings.HasPrefix(hash, "$argon2id$v=19$m=8,t=1,p=1$"), outdated)
		require.True(t, slices.ContainsFunc(knownHashes, func(known knownHash) bool {
			return strings.HasPrefix(hash, known.hash[:strings.LastIndexAny(known.hash[:8], "$_-")+1])
		}), hash)
	})
}
