package store

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/store/password"
)

// Config configures [Accounts]. Durations count to the millisecond. In SessionTTL,
// ReuseInterval and LostReplyWindow, 0 means the default, and any negative value turns
// the feature off: use [Off].
type Config struct {
	// Backend keeps the records. Required.
	Backend Backend
	// Passwords hashes and verifies passwords. The default is
	// password.New(password.Config{}): argon2id at OWASP's current minimum.
	Passwords PasswordHasher

	// RefreshTTL ends a session that nobody uses any more. It is how long a session
	// lives after its last refresh. The default is 30 days, the minimum 1 second.
	RefreshTTL time.Duration
	// SessionTTL makes users log in again from time to time. It is how long a session
	// lives after its login, however often it is refreshed. The default is 90 days,
	// the minimum 1 second. With Off, refreshes can extend a session for ever.
	SessionTTL time.Duration
	// ReuseInterval lets several callers refresh with the same token at about the
	// same time, for example two browser tabs. A refresh token that was exchanged for
	// new tokens still works for this long after they were issued, any number of
	// times, and gives tokens of the same new generation.
	//
	// Choose it longer than the delay between the callers plus the difference
	// between the servers' clocks. The default is 10 seconds, the maximum 60. With
	// Off, the second caller counts as a thief unless LostReplyWindow lets it in.
	ReuseInterval time.Duration
	// LostReplyWindow lets a client try again if it never got the reply to a refresh,
	// for example because its network failed. For this long after the refresh, the
	// old refresh token still works, any number of times, until somebody uses an
	// access token of the new generation. Each try replaces the tokens of the try
	// before it. The default is RefreshTTL. With Off, a client that loses a reply must
	// log in again once the ReuseInterval is over.
	LostReplyWindow time.Duration
	// MaxSessions bounds the size of an account's record. It is how many sessions an
	// account can have at once. The default is 32, the maximum 1,000.
	MaxSessions int

	// CacheTTL saves reads: FindBySession may answer from an account that was read at
	// most this long ago. With the default 0 it reads from the backend each time.
	//
	// The price is that another process can revoke a token, or take a group away,
	// and this process notices only after CacheTTL. Changes made through the same
	// Accounts are seen at once. So is everything that lets a caller in, such as a new
	// session or a new group, even from another process: the backend is asked before
	// a caller is refused.
	CacheTTL time.Duration
	// CacheGrace keeps requests working during an outage. While the backend does not
	// answer, FindBySession may use an account for this much longer than CacheTTL.
	// The default is 0. It has no effect without CacheTTL.
	CacheGrace time.Duration
	// CacheSize bounds the memory of the cache. It is how many accounts the cache
	// holds. The default is 100,000, about 100 MB if all of them are in use.
	CacheSize int

	// Throttle slows down the guessing of passwords. The zero value is good.
	Throttle Throttle
	// PasswordPolicy says which new passwords are accepted. The zero value is good.
	PasswordPolicy PasswordPolicy

	// Mailer sends codes, and tells users what happened to their accounts. Without it
	// there is no registration, no password reset by mail, and users cannot change their
	// e-mail themselves: these calls return ErrNoMailer.
	Mailer Mailer
	// Codes configures the codes that mails bring. The zero value is good.
	Codes Codes
	// RegistrationDomains, if set, keeps registration to addresses of these domains, for
	// example "example.org". It does not include their subdomains.
	RegistrationDomains []string

	// Now returns the current time. The default is time.Now.
	Now func() time.Time
}

// Off turns off the feature that a duration of [Config] or [Lifetimes] configures.
const Off time.Duration = -1

const (
	maxReuseInterval = time.Minute
	maxMaxSessions   = 1000
)

// PasswordHasher hashes and verifies passwords. *[password.Hasher] is the usual one. It
// also verifies the common hashes of other systems. Write your own to accept hashes of yet
// another kind.
//
// Implementations are safe for concurrent use, and stop waiting when the context ends.
// Passwords have 1 to 1,024 bytes of UTF-8. Hash gets them in Unicode NFC, and Verify as
// they were typed. An error that is not named here counts as an outage: Accounts returns
// it wrapped in [ErrUnavailable].
type PasswordHasher interface {
	// Hash returns the hash of a password, which is never empty. It returns an error
	// that matches [ErrInvalid] for a password that it cannot hash, for example one
	// that is too long for bcrypt.
	Hash(ctx context.Context, password string) (string, error)

	// Verify reports whether the password matches the stored hash, and whether that
	// hash is outdated and should be replaced.
	//
	// Verify must bring the password to Unicode NFC for a hash that Hash made. For a hash
	// of another system, it can try the password as it was typed as well: most systems
	// hash it so.
	//
	// Verify calls stored exactly once to get the hash, and returns an error of
	// stored as it is. stored looks up the account. If Verify has to wait for a turn
	// to hash, it waits before that call. Otherwise the time until an overloaded
	// hasher gives up would depend on whether the account exists.
	//
	// The hash is empty if the account does not exist or has no password. An empty
	// hash matches no password. Verify takes as long for it as for a hash that Hash
	// makes, so that the time does not reveal which accounts exist. Verify returns
	// password.ErrHash for a hash that it does not understand, and
	// password.ErrTooCostly for one that would take too much time or memory, both
	// after that same time.
	Verify(ctx context.Context, password string, stored func() (hash string, err error)) (match, outdated bool, err error)
}

// NewAccounts makes an account service. It checks the whole configuration and returns
// one error that names each wrong field.
func NewAccounts(config Config) (*Accounts, error) {
	var problems []string
	if config.Backend == nil {
		problems = append(problems, "Backend is required, such as memstore.New()")
	}
	if config.Passwords == nil {
		hasher, err := password.New(password.Config{})
		if err != nil {
			return nil, err
		}
		config.Passwords = hasher
	}
	config.RefreshTTL = cmp.Or(config.RefreshTTL, 30*24*time.Hour)
	config.SessionTTL = cmp.Or(config.SessionTTL, 90*24*time.Hour)
	config.ReuseInterval = cmp.Or(config.ReuseInterval, 10*time.Second)
	windowIsTTL := config.LostReplyWindow == 0
	config.LostReplyWindow = cmp.Or(config.LostReplyWindow, config.RefreshTTL)
	config.MaxSessions = cmp.Or(config.MaxSessions, 32)
	config.CacheSize = cmp.Or(config.CacheSize, 100_000)
	if config.RefreshTTL < time.Second {
		problems = append(problems, fmt.Sprintf("RefreshTTL is %v: it must be at least 1s, such as 720h", config.RefreshTTL))
	}
	if config.SessionTTL >= 0 && config.SessionTTL < time.Second {
		problems = append(problems, fmt.Sprintf("SessionTTL is %v: it must be at least 1s, such as 2160h, or store.Off", config.SessionTTL))
	}
	if config.ReuseInterval > maxReuseInterval {
		problems = append(problems, fmt.Sprintf("ReuseInterval is %v: it must be at most %v, or store.Off", config.ReuseInterval, maxReuseInterval))
	}
	if config.MaxSessions < 1 || config.MaxSessions > maxMaxSessions {
		problems = append(problems, fmt.Sprintf("MaxSessions is %d: it must be 1 to %d", config.MaxSessions, maxMaxSessions))
	}
	if config.CacheTTL < 0 || config.CacheGrace < 0 || config.CacheSize < 0 {
		problems = append(problems, fmt.Sprintf("CacheTTL (%v), CacheGrace (%v) and CacheSize (%d) must not be negative", config.CacheTTL, config.CacheGrace, config.CacheSize))
	}
	config.Throttle.setDefaults()
	problems = append(problems, config.Throttle.problems()...)
	config.PasswordPolicy.setDefaults()
	problems = append(problems, config.PasswordPolicy.problems()...)
	config.Codes.setDefaults()
	problems = append(problems, config.Codes.problems()...)
	domains, wrong := prepareDomains(config.RegistrationDomains)
	problems = append(problems, wrong...)
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
		windowIsTTL: windowIsTTL,
		maxSessions: config.MaxSessions,
		clock:       config.Now,
		throttle:    config.Throttle,
		attempts:    newAttempts(config.Backend, "login:", config.Now),
		policy:      config.PasswordPolicy,
		codes:       config.Codes,
		mailer:      config.Mailer,
		mails:       newAttempts(config.Backend, "mail:", config.Now),

		registrationDomains: domains,
	}, nil
}
