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
	// At most one fewer runs at once than there are cores (GOMAXPROCS), and at
	// least one, so that logins leave a core to all other requests. The default is
	// 262,144 (256 MiB), or MaxMemory if that is more.
	Budget uint32
	// MaxWaiting is how many callers may wait for their turn; one more gets
	// ErrOverloaded at once. The default is 128 for each hash that can run at once,
	// some seconds of work.
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
	cores := max(1, runtime.GOMAXPROCS(0)-1)
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
	release, err := h.turn(ctx, h.config.Memory)
	if err != nil {
		return "", err
	}
	defer release()
	return h.fresh(password), nil
}

// Verify reports whether the password is the one that was hashed, and whether the
// hash was made with other costs than those of new hashes, so that the caller
// should replace it. It calls stored for the hash when the caller's turn has come,
// and returns an error of stored as it is.
//
// An empty hash matches no password and costs as much time as a new one, so that
// an account without a password, or no account at all, cannot be told from a
// wrong password. The same holds for a hash that is refused, with [ErrHash] or
// [ErrTooCostly]. Other errors are those of [Hasher.Hash].
func (h *Hasher) Verify(ctx context.Context, password string, stored func() (hash string, err error)) (match, outdated bool, err error) {
	release, err := h.turn(ctx, h.config.Memory)
	if err != nil {
		return false, false, err
	}
	defer func() { release() }()
	text, err := stored()
	if err != nil {
		return false, false, err
	}
	hash, err := h.parse(text)
	if text == "" || err != nil {
		h.fresh(password)
		return false, false, err
	}
	if hash.memory > h.config.Memory {
		// A turn of another size. The old one goes first: who held on to it while
		// waiting could wait for ever.
		release()
		release = func() {}
		bigger, err := h.turn(ctx, hash.memory)
		if err != nil {
			return false, false, err
		}
		release = bigger
	}
	outdated = hash.memory != h.config.Memory || hash.iterations != h.config.Iterations ||
		hash.parallelism != h.config.Parallelism || len(hash.salt) != saltBytes || len(hash.key) != keyBytes
	return subtle.ConstantTimeCompare(hash.derive(password), hash.key) == 1, outdated, nil
}

// parse reads a stored hash and refuses one that costs too much. An empty one is
// left to the caller.
func (h *Hasher) parse(text string) (phc, error) {
	if text == "" {
		return phc{}, nil
	}
	hash, err := parsePHC(text)
	if err == nil && (hash.memory > h.config.MaxMemory || hash.iterations > h.config.MaxIterations || hash.parallelism > h.config.MaxParallelism) {
		err = ErrTooCostly
	}
	return hash, err
}

// fresh makes a hash with a new salt. The caller has a turn.
func (h *Hasher) fresh(password string) string {
	hash := phc{
		memory:      h.config.Memory,
		iterations:  h.config.Iterations,
		parallelism: h.config.Parallelism,
		salt:        make([]byte, saltBytes),
		key:         make([]byte, keyBytes),
	}
	rand.Read(hash.salt) // never fails
	hash.key = hash.derive(password)
	return hash.String()
}

func (p *phc) derive(password string) []byte {
	return argon2.IDKey([]byte(password), p.salt, p.iterations, p.memory, p.parallelism, uint32(len(p.key)))
}

// turn waits until a hash of so much memory, in KiB, may run.
func (h *Hasher) turn(ctx context.Context, memory uint32) (release func(), err error) {
	weight := max(int64(memory), h.share)
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
	return func() { h.turns.Release(weight) }, nil
}
