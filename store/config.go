package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/store/password"
)

// Config configures [Accounts]. Durations count to the millisecond. Where 0 is
// the default and the feature can be turned off, any negative value does that;
// [Off] says so by name.
type Config struct {
	// Backend keeps the records. Required.
	Backend Backend
	// Passwords hashes and verifies. The default is argon2id at OWASP's current
	// minimum: password.New(password.Config{}).
	Passwords PasswordHasher

	// RefreshTTL is how long a session lives after its last refresh. The default
	// is 30 days.
	RefreshTTL time.Duration
	// SessionTTL is how long a session lives after its login, refreshed or not.
	// The default is 90 days; Off sets no such end.
	SessionTTL time.Duration
	// ReuseInterval lets two callers refresh with one token at about the same time,
	// for example two browser tabs: for so long after the session's current tokens
	// were issued, the refresh token that was used for them gives out the same
	// generation again, any number of times. It must be longer than their delay and
	// the difference of the servers' clocks. The default is 10 seconds, the most 60;
	// Off is strict.
	ReuseInterval time.Duration
	// LostReplyWindow lets a client that never got the reply to a refresh try again:
	// for so long after the refresh the old token still works, any number of times,
	// if nobody has used an access token of the new generation. Each try voids the
	// tokens of the one before. The default is as long as the token lives; Off turns
	// it off.
	LostReplyWindow time.Duration
	// MaxSessions is how many sessions an account can have at once. The default
	// is 32, the most 1,000.
	MaxSessions int

	// CacheTTL is how long FindBySession may answer from what it has read
	// before. The default is 0: it asks the backend each time. Changes that are made
	// through the same Accounts are seen at once, and so is what lets a caller in:
	// a new session, a new group. What ends a session or takes a group away in
	// another process is seen after at most the TTL: for so long a revoked token
	// still works here.
	CacheTTL time.Duration
	// CacheGrace is how much longer what was read before may be used while the
	// backend does not answer. The default is 0.
	CacheGrace time.Duration
	// CacheSize is how many accounts are held. The default is 100,000, some 100 MB
	// if they are all in use.
	CacheSize int

	// Throttle slows down the guessing of passwords. The zero value is good.
	Throttle Throttle

	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Off turns a duration of [Config] off.
const Off time.Duration = -1

const (
	maxReuseInterval = time.Minute
	maxMaxSessions   = 1000
)

// PasswordHasher hashes passwords. *[password.Hasher] is one. Implementations are
// safe for concurrent use and honour the context while they wait.
//
// Any error that is not named here counts as an outage and matches
// [ErrUnavailable].
type PasswordHasher interface {
	// Hash makes a hash, a string that is never empty. It returns an error that
	// matches [ErrInvalid] for a password that it cannot hash, such as one too long
	// for bcrypt.
	Hash(ctx context.Context, password string) (string, error)

	// Verify reports whether the password is the one that was hashed, and whether
	// the hash should be replaced by a new one. It calls stored once for the hash,
	// after any waiting for a turn: the account is looked up only then, so that an
	// answer for lack of a turn says nothing about the account. It returns an error
	// of stored as it is.
	//
	// An empty hash matches nothing and takes as long as a new one. A hash that is
	// not understood, or that asks for too much, is password.ErrHash or
	// password.ErrTooCostly, after as much time.
	Verify(ctx context.Context, password string, stored func() (hash string, err error)) (match, outdated bool, err error)
}

// NewAccounts checks the whole configuration and returns one error that names
// each wrong field.
func NewAccounts(config Config) (*Accounts, error) {
	var problems []string
	if config.Backend == nil {
		problems = append(problems, "Backend is required")
	}
	if config.Passwords == nil {
		hasher, err := password.New(password.Config{})
		if err != nil {
			return nil, err
		}
		config.Passwords = hasher
	}
	setDefault(&config.RefreshTTL, 30*24*time.Hour)
	setDefault(&config.SessionTTL, 90*24*time.Hour)
	setDefault(&config.ReuseInterval, 10*time.Second)
	setDefault(&config.LostReplyWindow, config.RefreshTTL)
	setDefault(&config.MaxSessions, 32)
	if config.RefreshTTL < time.Second {
		problems = append(problems, "RefreshTTL must be at least a second")
	}
	if config.SessionTTL >= 0 && config.SessionTTL < time.Second {
		problems = append(problems, "SessionTTL must be at least a second, or Off")
	}
	if config.ReuseInterval > maxReuseInterval {
		problems = append(problems, fmt.Sprintf("ReuseInterval must be at most %v", maxReuseInterval))
	}
	if config.MaxSessions < 1 || config.MaxSessions > maxMaxSessions {
		problems = append(problems, fmt.Sprintf("MaxSessions must be 1 to %d", maxMaxSessions))
	}
	setDefault(&config.CacheSize, 100_000)
	if config.CacheTTL < 0 || config.CacheGrace < 0 || config.CacheSize < 0 {
		problems = append(problems, "CacheTTL, CacheGrace and CacheSize must not be negative")
	}
	config.Throttle.setDefaults()
	problems = append(problems, config.Throttle.problems()...)
	if config.Now == nil {
		config.Now = time.Now
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("store: configuration: %s", strings.Join(problems, "; "))
	}
	config.Backend = knownFormats{config.Backend}
	var cache *accountCache
	if config.CacheTTL > 0 {
		cache = newAccountCache(config.Backend, config.CacheTTL, config.CacheGrace, config.CacheSize, config.Now)
		config.Backend = &cachingBackend{config.Backend, cache}
	}
	return &Accounts{
		backend:     config.Backend,
		cache:       cache,
		passwords:   config.Passwords,
		refreshTTL:  config.RefreshTTL,
		sessionTTL:  config.SessionTTL,
		rotation:    rotation{config.ReuseInterval, config.LostReplyWindow},
		maxSessions: config.MaxSessions,
		clock:       config.Now,
		throttle:    config.Throttle,
		attempts:    newAttempts(config.Backend, "login:", config.Now),
	}, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
