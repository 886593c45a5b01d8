package store

import (
	"context"
	"errors"
	"strings"

	"github.com/oauthsv/oauthsv/store/password"
)

// Login is what [Accounts.Login] needs.
type Login struct {
	// Username is an account's name, or its e-mail where it holds an "@".
	Username string
	Password string
	// Address is the network address of the client, such as "192.0.2.1". Config.Throttle
	// counts failed logins by it. Without it they count by the name alone.
	Address string
	// Approve, if set, is asked once the password was found right, before the
	// session starts. Login returns its error as it is.
	Approve func(ctx context.Context, account *Account) error
	// Session is what the login says of itself.
	Session NewSession
}

// loginAttempts bounds how often a login looks again because another one replaced
// the hash that it had verified, as logins do after the costs were raised.
const loginAttempts = 4

// Login checks a password and starts a session. Its errors are those of
// [Accounts.VerifyPassword] and of Approve, and a *[ThrottledError] where too many
// logins have failed: then the password was not looked at.
func (a *Accounts) Login(ctx context.Context, login Login) (*SessionState, error) {
	attempt, err := a.beginLogin(ctx, login.Username, login.Address)
	if err != nil {
		return nil, err
	}
	state, err := a.login(ctx, login)
	switch {
	case err == nil:
		attempt.succeeded(ctx)
	case errors.Is(err, ErrCredentials):
		if uncounted := attempt.failed(ctx); uncounted != nil {
			return nil, uncounted
		}
	default:
		attempt.abandoned()
	}
	return state, err
}

func (a *Accounts) login(ctx context.Context, login Login) (*SessionState, error) {
	approved := NilID
	for attempt := 1; ; attempt++ {
		account, err := a.VerifyPassword(ctx, login.Username, login.Password)
		if err != nil {
			return nil, err
		}
		if login.Approve != nil && approved != account.ID {
			if err := login.Approve(ctx, account); err != nil {
				return nil, err
			}
			approved = account.ID
		}
		state, err := a.StartSession(ctx, account, login.Session)
		switch {
		case Refused(err): // it was disabled or removed a moment ago
			return nil, &CredentialsError{AccountID: account.ID, Err: err}
		case !isHashReplaced(err), attempt == loginAttempts:
			return state, err
		}
	}
}

// VerifyPassword finds an account by its name, or by its e-mail where username
// holds an "@", and checks the password. The error is a *[CredentialsError] for
// an unknown name, a wrong password and a disabled account alike, and each of
// these takes the time of one password hash. A password that no account can have is
// refused without a look at the accounts.
//
// The account it returns is what [Accounts.StartSession] takes as proof of the
// password. A hash made with older costs is replaced on the way.
//
// It does not count failures: what lets users in from outside calls [Accounts.Login].
func (a *Accounts) VerifyPassword(ctx context.Context, username, pass string) (*Account, error) {
	prepared, err := preparePassword(pass)
	if err != nil {
		return nil, &CredentialsError{Err: err}
	}
	for attempt := 1; ; attempt++ {
		account, outdated, err := a.checkPassword(ctx, prepared, func() (*Account, error) {
			return a.findByUsername(ctx, username)
		})
		if err != nil {
			return nil, err
		}
		if account.Disabled {
			return nil, &CredentialsError{AccountID: account.ID, Err: ErrDisabled}
		}
		if outdated {
			account, err = a.rehash(ctx, account, prepared)
		}
		if !isHashReplaced(err) || attempt == loginAttempts {
			return account, err
		}
	}
}

func (a *Accounts) findByUsername(ctx context.Context, username string) (*Account, error) {
	if strings.Contains(username, "@") {
		return a.FindByEmail(ctx, username)
	}
	return a.FindByName(ctx, username)
}

// checkPassword checks a prepared password. find is called when the turn to hash
// has come: were the account looked up before, the answer of a hasher that is
// overloaded would take longer for a name that exists.
func (a *Accounts) checkPassword(ctx context.Context, prepared string, find func() (*Account, error)) (account *Account, outdated bool, err error) {
	var lookUp error
	match, outdated, err := a.passwords.Verify(ctx, prepared, func() (string, error) {
		account, lookUp = find()
		if errors.Is(lookUp, ErrNotFound) || errors.Is(lookUp, ErrInvalid) {
			account, lookUp = &Account{}, nil // no hash: it takes its time and matches nothing
		}
		if lookUp != nil {
			return "", lookUp
		}
		return account.PasswordHash, nil
	})
	switch {
	case lookUp != nil:
		return nil, false, lookUp
	case err == nil && account == nil:
		return nil, false, unavailable("checking the password", errors.New("the hasher did not ask for the hash"))
	case account != nil && (errors.Is(err, password.ErrHash) || errors.Is(err, password.ErrTooCostly)):
		return nil, false, &CredentialsError{AccountID: account.ID, Err: err}
	case err != nil:
		return nil, false, unavailable("checking the password", err)
	case !match:
		return nil, false, &CredentialsError{AccountID: account.ID}
	}
	return account, outdated, nil
}

// hash makes the hash of a prepared password.
func (a *Accounts) hash(ctx context.Context, prepared string) (string, error) {
	hash, err := a.passwords.Hash(ctx, prepared)
	if err != nil && !errors.Is(err, ErrInvalid) {
		return "", unavailable("hashing the password", err)
	}
	return hash, err
}

// errHashReplaced: the hash that was verified is not the account's any more. The
// password may have been changed, or another login may have made a better hash.
var errHashReplaced = errors.New("store: the password was changed, or hashed anew, meanwhile")

func isHashReplaced(err error) bool {
	var failed *CredentialsError
	return errors.As(err, &failed) && failed.Err == errHashReplaced
}

// rehash replaces the hash that was verified, and no other. Without a turn to hash
// it is left to the next login: the password was right.
func (a *Accounts) rehash(ctx context.Context, verified *Account, prepared string) (*Account, error) {
	hash, err := a.hash(ctx, prepared)
	if err != nil {
		return verified, nil
	}
	var updated *Account
	err = a.backend.Update(ctx, verified.ID, func(account *Account) error {
		updated = account
		switch {
		case account.Disabled:
			return &CredentialsError{AccountID: account.ID, Err: ErrDisabled}
		case account.PasswordHash == hash:
			return ErrUnchanged // a write whose reply was lost
		case account.PasswordHash != verified.PasswordHash:
			return &CredentialsError{AccountID: account.ID, Err: errHashReplaced}
		}
		account.PasswordHash = hash
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return nil, &CredentialsError{AccountID: verified.ID, Err: err}
	}
	if err != nil {
		return nil, err
	}
	return updated, nil
}
