// Package password hashes and verifies passwords with argon2id (RFC 9106). It bounds the
// memory and the cores that all hashes together may take, so that many logins at once
// do not bring a server down.
//
// Hashes are strings in PHC form:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
package password

import (
	"cmp"
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
	// ErrOverloaded means that Config.MaxWaiting callers are already waiting to hash.
	ErrOverloaded = errors.New("password: too many passwords are being hashed")
	// ErrHash means that a stored hash is not a PHC string of argon2id version 19.
	ErrHash = errors.New("password: malformed hash")
	// ErrTooCostly means that a stored hash has higher costs than the configured
	// maximum.
	ErrTooCostly = errors.New("password: the hash costs more than the configured maximum")
)

// Config says how much work a hash is, and how many hashes run at once. The zero value
// is OWASP's current minimum for argon2id: 19 MiB and 2 iterations, about 50 ms of one
// core.
type Config struct {
	// Memory is what a new hash takes, in KiB. More memory and more iterations make it
	// more expensive to guess passwords from stolen hashes, but also to log in. The
	// default is 19,456 (19 MiB).
	Memory uint32
	// Iterations is the number of passes over that memory. The default is 2.
	Iterations uint32
	// Parallelism is the number of lanes. The default is 1. More lanes than cores
	// make a hash no faster.
	Parallelism uint8

	// MaxMemory (in KiB), MaxIterations and MaxParallelism bound the costs of a stored
	// hash, so that a manipulated one cannot take the server down. A hash beyond them
	// is refused with ErrTooCostly. The defaults are 131,072 (128 MiB), 16 and 16, or
	// the costs of new hashes where those are higher.
	MaxMemory      uint32
	MaxIterations  uint32
	MaxParallelism uint8

	// Budget bounds the memory, in KiB, of all hashes that run at once. Cores bound
	// them as well: one hash fewer runs at once than there are cores (GOMAXPROCS), but
	// at least one, so that logins leave a core to other requests. The default is
	// 262,144 (256 MiB), or MaxMemory if that is more.
	Budget uint32
	// MaxWaiting bounds how long a login can wait. It is how many callers may wait to
	// hash; the next caller gets ErrOverloaded at once. The default is 128 for each
	// hash that can run at once, which is some seconds of work.
	MaxWaiting int
}

// Hasher hashes and verifies passwords. It is safe for concurrent use.
type Hasher struct {
	config    Config
	budget    *semaphore.Weighted // in KiB
	minWeight int64               // each hash takes this much of the budget or more, so that cores bound it too
	waiting   atomic.Int64
}

const (
	saltBytes = 16
	keyBytes  = 32
)

// New makes a Hasher. It checks the whole configuration and returns one error that names
// each wrong field.
func New(config Config) (*Hasher, error) {
	config.Memory = cmp.Or(config.Memory, 19*1024)
	config.Iterations = cmp.Or(config.Iterations, 2)
	config.Parallelism = cmp.Or(config.Parallelism, 1)
	config.MaxMemory = cmp.Or(config.MaxMemory, max(128*1024, config.Memory))
	config.MaxIterations = cmp.Or(config.MaxIterations, max(16, config.Iterations))
	config.MaxParallelism = cmp.Or(config.MaxParallelism, max(16, config.Parallelism))
	config.Budget = cmp.Or(config.Budget, max(256*1024, config.MaxMemory))
	cores := max(1, runtime.GOMAXPROCS(0)-1)
	config.MaxWaiting = cmp.Or(config.MaxWaiting, 128*cores)

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
		config:    config,
		budget:    semaphore.NewWeighted(int64(config.Budget)),
		minWeight: (int64(config.Budget) + int64(cores) - 1) / int64(cores),
	}, nil
}

// Hash returns the hash of a password, with a new salt. It returns [ErrOverloaded] if too
// many callers wait, and an error that wraps the context's if that ends during the wait.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	release, err := h.waitForTurn(ctx, h.config.Memory)
	if err != nil {
		return "", err
	}
	defer release()
	return h.newHash(password), nil
}

// Verify reports whether the password matches the stored hash, and whether that hash is
// outdated: the caller should then replace it, because new hashes have other costs. It
// calls stored to get the hash once it is the caller's turn, and returns an error of
// stored as it is.
//
// An empty hash matches no password, and takes as long as a new hash. So the time does
// not reveal whether an account exists or has a password. A hash that is refused, with
// [ErrHash] or [ErrTooCostly], takes that time as well. Other errors are those of
// [Hasher.Hash].
func (h *Hasher) Verify(ctx context.Context, password string, stored func() (hash string, err error)) (match, outdated bool, err error) {
	release, err := h.waitForTurn(ctx, h.config.Memory)
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
		h.newHash(password)
		return false, false, err
	}
	if hash.memory > h.config.Memory {
		// This hash needs a larger part of the budget. The smaller part is released
		// first: callers that hold one and wait for another could wait for ever.
		release()
		release = func() {}
		bigger, err := h.waitForTurn(ctx, hash.memory)
		if err != nil {
			return false, false, err
		}
		release = bigger
	}
	outdated = hash.memory != h.config.Memory || hash.iterations != h.config.Iterations ||
		hash.parallelism != h.config.Parallelism || len(hash.salt) != saltBytes || len(hash.key) != keyBytes
	return subtle.ConstantTimeCompare(hash.derive(password), hash.key) == 1, outdated, nil
}

// parse parses a stored hash and refuses one that costs too much. The caller handles an
// empty one.
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

// newHash returns a hash with a new salt. The caller must have its turn.
func (h *Hasher) newHash(password string) string {
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

// waitForTurn waits until a hash of this much memory, in KiB, may run.
func (h *Hasher) waitForTurn(ctx context.Context, memory uint32) (release func(), err error) {
	weight := max(int64(memory), h.minWeight)
	if !h.budget.TryAcquire(weight) {
		if h.waiting.Add(1) > int64(h.config.MaxWaiting) {
			h.waiting.Add(-1)
			return nil, ErrOverloaded
		}
		err := h.budget.Acquire(ctx, weight)
		h.waiting.Add(-1)
		if err != nil {
			return nil, fmt.Errorf("password: waiting to hash: %w", err)
		}
	}
	return func() { h.budget.Release(weight) }, nil
}
