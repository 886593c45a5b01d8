package password_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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

// TestHashingLeavesACore checks that one hash fewer runs at once than there are cores.
func TestHashingLeavesACore(t *testing.T) {
	for _, cores := range []int{1, 2, 4} {
		before := runtime.GOMAXPROCS(cores)
		hasher := newHasher(t, cheap)
		runtime.GOMAXPROCS(before)
		var running, most atomic.Int64
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				_, _, err := hasher.Verify(t.Context(), "secret", func() (string, error) {
					now := running.Add(1)
					for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
					}
					for range 100 {
						runtime.Gosched()
					}
					running.Add(-1)
					return "", nil
				})
				assert.NoError(t, err)
			})
		}
		all.Wait()
		assert.LessOrEqual(t, most.Load(), int64(max(1, cores-1)), "%d cores", cores)
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
