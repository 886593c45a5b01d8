// Package password hashes and verifies passwords with argon2id (RFC 9106), with
// a bound on the memory and the cores that all hashes together may take.
//
// Hashes are strings in PHC form:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/semaphore"
)

var (
	// ErrOverloaded: as many callers as Config.MaxWaiting allows wait already.
	ErrOverloaded = errors.New("password: too many passwords are being hashed")
	// ErrHash: a stored hash is not a PHC string of argon2id version 19.
	ErrHash = errors.New("password: malformed hash")
	// ErrTooCostly: a stored hash asks for more than the configured maximum.
	ErrTooCostly = errors.New("password: the hash costs more than the configured maximum")
)

// Config holds the costs. The zero value is OWASP's current minimum for argon2id:
// 19 MiB and 2 iterations, about 50 ms of one core.
type Config struct {
	// Memory of one hash in KiB. The default is 19,456 (19 MiB).
	Memory uint32
	// Iterations over that memory. The default is 2.
	Iterations uint32
	// Parallelism is the number of lanes. The default is 1. One hash never uses
	// more than one lane per core, whatever is set here.
	Parallelism uint8

	// MaxMemory in KiB, MaxIterations and MaxParallelism bound what a stored
	// hash may ask for: beyond them it is refused rather than computed. The
	// defaults are 131,072 (128 MiB), 16 and 16, or what new hashes take if that
	// is more.
	MaxMemory      uint32
	MaxIterations  uint32
	MaxParallelism uint8

	// Budget is how much memory, in KiB, all hashes under way may take together.
	// At most as many run at once as there are cores (GOMAXPROCS). The default is
	// 262,144 (256 MiB), or MaxMemory if that is more.
	Budget uint32
	// MaxWaiting is how many callers may wait for their turn; one more gets
	// ErrOverloaded at once. The default is 128 per core, some seconds of work.
	MaxWaiting int
}

// Hasher hashes and verifies passwords. It is safe for concurrent use.
type Hasher struct {
	config  Config
	turns   *semaphore.Weighted // in KiB of the budget
	share   int64               // the least a hash takes of it, so that cores bound it too
	waiting atomic.Int64
}

const (
	saltBytes = 16
	keyBytes  = 32
)

// New checks the whole configuration and returns one error that names each wrong
// field.
func New(config Config) (*Hasher, error) {
	setDefault(&config.Memory, 19*1024)
	setDefault(&config.Iterations, 2)
	setDefault(&config.Parallelism, 1)
	setDefault(&config.MaxMemory, max(128*1024, config.Memory))
	setDefault(&config.MaxIterations, max(16, config.Iterations))
	setDefault(&config.MaxParallelism, max(16, config.Parallelism))
	setDefault(&config.Budget, max(256*1024, config.MaxMemory))
	cores := runtime.GOMAXPROCS(0)
	setDefault(&config.MaxWaiting, 128*cores)

	var problems []string
	if config.Memory < 8*uint32(config.Parallelism) { // RFC 9106 section 3.1
		problems = append(problems, "Memory must be at least 8 KiB per lane of Parallelism")
	}
	if config.MaxMemory < config.Memory || config.MaxIterations < config.Iterations || config.MaxParallelism < config.Parallelism {
		problems = append(problems, "MaxMemory, MaxIterations and MaxParallelism must not be below Memory, Iterations and Parallelism")
	}
	if config.Budget < config.MaxMemory {
		problems = append(problems, "Budget must be at least MaxMemory")
	}
	if config.MaxWaiting < 0 {
		problems = append(problems, "MaxWaiting must not be negative")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("password: configuration: %s", strings.Join(problems, "; "))
	}
	return &Hasher{
		config: config,
		turns:  semaphore.NewWeighted(int64(config.Budget)),
		share:  (int64(config.Budget) + int64(cores) - 1) / int64(cores),
	}, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Hash makes the hash of a password with a new salt. It returns [ErrOverloaded],
// or the context's error if that ends before the turn of the caller has come.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	fresh := phc{
		memory:      h.config.Memory,
		iterations:  h.config.Iterations,
		parallelism: h.config.Parallelism,
		salt:        make([]byte, saltBytes),
		key:         make([]byte, keyBytes),
	}
	rand.Read(fresh.salt) // never fails
	var err error
	if fresh.key, err = h.derive(ctx, password, &fresh); err != nil {
		return "", err
	}
	return fresh.String(), nil
}

// Verify tells whether the password is the one that was hashed, and whether the
// hash was made with other costs than those of new hashes, so that the caller
// should replace it.
//
// An empty hash matches no password and costs as much time as a new one, so that
// an account without a password, or no account at all, cannot be told from a
// wrong password. Apart from the errors of [Hasher.Hash] it returns [ErrHash] and
// [ErrTooCostly], at once.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (match, outdated bool, err error) {
	if hash == "" {
		_, err := h.Hash(ctx, password)
		return false, false, err
	}
	stored, err := parsePHC(hash)
	if err != nil {
		return false, false, err
	}
	if stored.memory > h.config.MaxMemory || stored.iterations > h.config.MaxIterations || stored.parallelism > h.config.MaxParallelism {
		return false, false, ErrTooCostly
	}
	key, err := h.derive(ctx, password, &stored)
	if err != nil {
		return false, false, err
	}
	outdated = stored.memory != h.config.Memory || stored.iterations != h.config.Iterations ||
		stored.parallelism != h.config.Parallelism || len(stored.salt) != saltBytes || len(stored.key) != keyBytes
	return subtle.ConstantTimeCompare(key, stored.key) == 1, outdated, nil
}

func (h *Hasher) derive(ctx context.Context, password string, with *phc) ([]byte, error) {
	weight := max(int64(with.memory), h.share)
	if !h.turns.TryAcquire(weight) {
		if h.waiting.Add(1) > int64(h.config.MaxWaiting) {
			h.waiting.Add(-1)
			return nil, ErrOverloaded
		}
		err := h.turns.Acquire(ctx, weight)
		h.waiting.Add(-1)
		if err != nil {
			return nil, fmt.Errorf("password: waiting to hash: %w", err)
		}
	}
	defer h.turns.Release(weight)
	return argon2.IDKey([]byte(password), with.salt, with.iterations, with.memory, with.parallelism, uint32(len(with.key))), nil
}
