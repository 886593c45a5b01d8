// Package password hashes and verifies passwords with argon2id (RFC 9106). It bounds the
// memory and the cores that all hashes together may take, so that many logins at once
// do not bring a server down.
//
// New hashes are always strings in PHC form:
//
//	$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>
//
// # Hashes of other systems
//
// [Hasher.Verify] also verifies the hashes of accounts that move in from elsewhere. It
// reports them as outdated, so that the account's next login replaces them.
//
//	bcrypt                    $2a$12$..., $2b$12$..., $2y$12$...
//	PBKDF2, as passlib does   $pbkdf2-sha256$29000$<salt>$<hash>, $pbkdf2-sha512$..., $pbkdf2$...
//	PBKDF2, as Django does    pbkdf2_sha256$600000$<salt>$<hash>, pbkdf2_sha1$...
//	scrypt, as passlib does   $scrypt$ln=16,r=8,p=1$<salt>$<hash>
//	scrypt, as Django does    scrypt$16384$<salt>$8$1$<hash>
//	SHA-224 without salt      $argon2id-sha224$v=19$m=19456,t=2,p=1$<salt>$<hash>
//
// The last is argon2id over the hexadecimal SHA-224 digest, so that the bare digest rests
// nowhere: make it with [Hasher.WrapSHA224] when the accounts move in.
//
// As in the systems that make them, bcrypt hashes see 72 bytes of the password, and match
// none with a NUL byte.
//
// # Unicode
//
// [Hasher.Hash] brings passwords to Unicode NFC. Verify tries a password in NFC, and as it
// was typed where that differs: other systems may have hashed it so.
//
// # What the time shows
//
// A failed login with a cheaper hash than a new one takes about as long as one without an
// account. A dearer hash, bcrypt of cost 12 for example, takes longer until it is replaced,
// and so shows that the account exists. Set Config.OldHash to hide that too.
package password

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sync/semaphore"
	"golang.org/x/text/unicode/norm"
)

var (
	// ErrOverloaded means that Config.MaxWaiting callers are already waiting to hash.
	ErrOverloaded = errors.New("password: too many passwords are being hashed")
	// ErrHash means that a stored hash, or a digest to wrap, has none of the forms that
	// the package knows.
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

	// MaxBcryptCost and MaxPBKDF2Iterations bound the hashes of other systems in the same
	// way. The defaults are 14 and 5,000,000, a few seconds of one core each. MaxMemory
	// bounds scrypt: its N*r*p*128 bytes, of which p parts take their turns in memory.
	MaxBcryptCost       int
	MaxPBKDF2Iterations int

	// OldHash hides which accounts have moved in with a hash of another system that is
	// dearer than a new one, and so that they exist. It is any one of those hashes, or a
	// made-up one with the same costs. Then each failed login does the work of one such hash
	// and of one new one, whether there is an account or not. Take it away once few old
	// hashes are left. The default is empty: failed logins take as long as a new hash.
	OldHash string

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
	config   Config
	cores    int64               // how many hashes may run at once
	budget   *semaphore.Weighted // in KiB, times cores: a core's part of it is a whole number then
	counters counters
	old      storedHash   // Config.OldHash, or nil
	usual    atomic.Int64 // how long a new hash takes, in nanoseconds; 0 before the first
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
	config.MaxBcryptCost = cmp.Or(config.MaxBcryptCost, 14)
	config.MaxPBKDF2Iterations = cmp.Or(config.MaxPBKDF2Iterations, 5_000_000)
	config.Budget = cmp.Or(config.Budget, max(256*1024, config.MaxMemory))
	cores := max(1, runtime.GOMAXPROCS(0)-1)
	config.MaxWaiting = cmp.Or(config.MaxWaiting, 128*cores)

	var problems []string
	if config.Memory < 8*uint32(config.Parallelism) { // RFC 9106 section 3.1
		problems = append(problems, fmt.Sprintf("Memory is %d KiB: it must be at least 8 for each of the %d lanes of Parallelism", config.Memory, config.Parallelism))
	}
	if config.MaxMemory < config.Memory || config.MaxIterations < config.Iterations || config.MaxParallelism < config.Parallelism {
		problems = append(problems, fmt.Sprintf("MaxMemory (%d), MaxIterations (%d) and MaxParallelism (%d) must not be below Memory (%d), Iterations (%d) and Parallelism (%d)",
			config.MaxMemory, config.MaxIterations, config.MaxParallelism, config.Memory, config.Iterations, config.Parallelism))
	}
	if config.MaxBcryptCost < bcrypt.MinCost || config.MaxBcryptCost > bcrypt.MaxCost {
		problems = append(problems, fmt.Sprintf("MaxBcryptCost is %d: it must be %d to %d", config.MaxBcryptCost, bcrypt.MinCost, bcrypt.MaxCost))
	}
	if config.MaxPBKDF2Iterations < 0 {
		problems = append(problems, fmt.Sprintf("MaxPBKDF2Iterations is %d: it must not be negative", config.MaxPBKDF2Iterations))
	}
	old, err := config.parse(config.OldHash)
	if _, ours := old.(*phc); err != nil || ours {
		problems = append(problems, "OldHash must be a hash of another system, with costs that are not too high")
	}
	if config.Budget < config.MaxMemory {
		problems = append(problems, fmt.Sprintf("Budget is %d KiB: it must be at least MaxMemory (%d)", config.Budget, config.MaxMemory))
	}
	if config.MaxWaiting < 0 {
		problems = append(problems, fmt.Sprintf("MaxWaiting is %d: it must not be negative", config.MaxWaiting))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("password: configuration: %s", strings.Join(problems, "; "))
	}
	return &Hasher{
		old:    old,
		config: config,
		cores:  int64(cores),
		budget: semaphore.NewWeighted(int64(config.Budget) * int64(cores)),
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
	hash := h.newHash(norm.NFC.String(password))
	return hash.String(), nil
}

// WrapSHA224 returns the hash to store for a password of which only the SHA-224 digest is
// known, in 56 hexadecimal digits, without a salt. Bare digests are guessed fast: wrap them
// all at once when accounts move in, and keep none. Errors are those of [Hasher.Hash], and
// [ErrHash] for text that is no such digest.
func (h *Hasher) WrapSHA224(ctx context.Context, hexDigest string) (string, error) {
	digest := strings.ToLower(hexDigest)
	if decoded, err := hex.DecodeString(digest); err != nil || len(decoded) != sha256.Size224 {
		return "", fmt.Errorf("%w: a SHA-224 digest has 56 hexadecimal digits", ErrHash)
	}
	release, err := h.waitForTurn(ctx, h.config.Memory)
	if err != nil {
		return "", err
	}
	defer release()
	wrapped := wrappedSHA224{h.newHash(digest)}
	return wrapped.String(), nil
}

// Check returns [ErrHash] or [ErrTooCostly] if Verify would not take a stored hash, so that
// an import can say so at once. It does no hashing.
func (h *Hasher) Check(hash string) error {
	_, err := h.config.parse(hash)
	return err
}

// Verify reports whether the password matches the stored hash, and whether that hash is
// outdated: the caller should then replace it, because new hashes have other costs or
// another form. It calls stored to get the hash once it is the caller's turn, and returns
// an error of stored as it is. It tries the password in Unicode NFC, and as it is.
//
// An empty hash matches no password, and takes as long as a new hash. So the time does
// not reveal whether an account exists or has a password. A hash that is refused, with
// [ErrHash] or [ErrTooCostly], takes that time as well, and so does a password that does
// not match a cheaper hash. Other errors are those of [Hasher.Hash].
func (h *Hasher) Verify(ctx context.Context, password string, stored func() (hash string, err error)) (match, outdated bool, err error) {
	turn := h.config.Memory
	if h.old != nil {
		turn = max(turn, h.old.needs())
	}
	release, err := h.waitForTurn(ctx, turn)
	if err != nil {
		return false, false, err
	}
	defer func() { release() }()
	text, err := stored()
	if err != nil {
		return false, false, err
	}
	forms := formsOf(password)
	hash, err := h.config.parse(text)
	if hash == nil {
		h.fail(forms, nil, 0)
		return false, false, err
	}
	if hash.needs() > turn {
		// This hash needs a larger part of the budget. The smaller part is released
		// first: callers that hold one and wait for another could wait for ever.
		release()
		release = func() {}
		bigger, err := h.waitForTurn(ctx, hash.needs())
		if err != nil {
			return false, false, err
		}
		release = bigger
	}
	start := time.Now()
	for i, form := range forms {
		if hash.matches(form) {
			return true, i > 0 || !h.isCurrent(hash), nil
		}
	}
	h.fail(forms, hash, time.Since(start))
	return false, false, nil
}

// formsOf returns the password in Unicode NFC, and as it is where that differs.
func formsOf(password string) []string {
	prepared := norm.NFC.String(password)
	if prepared == password {
		return []string{prepared}
	}
	return []string{prepared, password}
}

// isCurrent reports whether the hash is what Hash makes now.
func (h *Hasher) isCurrent(hash storedHash) bool {
	p, ours := hash.(*phc)
	return ours && p.memory == h.config.Memory && p.iterations == h.config.Iterations &&
		p.parallelism == h.config.Parallelism && len(p.salt) == saltBytes && len(p.key) == keyBytes
}

// newHash returns a hash with a new salt. The caller must have its turn.
func (h *Hasher) newHash(password string) *phc {
	hash := &phc{
		memory:      h.config.Memory,
		iterations:  h.config.Iterations,
		parallelism: h.config.Parallelism,
		salt:        make([]byte, saltBytes),
		key:         make([]byte, keyBytes),
	}
	rand.Read(hash.salt) // never fails
	start := time.Now()
	hash.key = hash.derive(password)
	h.learn(time.Since(start))
	return hash
}

// waitForTurn waits until a hash of this much memory, in KiB, may run.
func (h *Hasher) waitForTurn(ctx context.Context, memory uint32) (release func(), err error) {
	// Each hash takes at least a core's part of the budget, so that cores bound it too. A scrypt
	// hash of MaxMemory needs a little more than that for its ends.
	budget := int64(h.config.Budget)
	weight := max(min(int64(memory), budget)*h.cores, budget)
	if !h.budget.TryAcquire(weight) {
		if err := h.wait(ctx, weight); err != nil {
			return nil, err
		}
	}
	end := h.counters.begin()
	return func() {
		end()
		h.budget.Release(weight)
	}, nil
}

// wait waits for a part of the budget, unless too many do so already.
func (h *Hasher) wait(ctx context.Context, weight int64) error {
	defer h.counters.waiting.Add(-1)
	if h.counters.waiting.Add(1) > int64(h.config.MaxWaiting) {
		h.counters.refused.Add(1)
		return ErrOverloaded
	}
	start := time.Now()
	err := h.budget.Acquire(ctx, weight)
	h.counters.waitTime.Add(int64(time.Since(start)))
	if err != nil {
		h.counters.givenUp.Add(1)
		return fmt.Errorf("password: waiting to hash: %w", err)
	}
	return nil
}
