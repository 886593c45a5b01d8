package store

import (
	"context"
	"errors"
	"strings"

	"github.com/oauthsv/oauthsv/store/password"
)

// Login describes a login with a password.
type Login struct {
	// Username is the name of an account. If it holds an "@", it is an e-mail.
	Username string
	Password string
	// Address is the network address of the client, such as "192.0.2.1". Config.Throttle
	// counts failed logins by it. Without it they count by the name alone.
	Address string
	// Approve can refuse a login whose password is right, for example because the
	// client is not for this account. If set, it runs before the session starts. Login
	// returns its error as it is.
	Approve func(ctx context.Context, account *Account) error
	// Session describes the new session.
	Session NewSession
}

// loginAttempts bounds how often a login starts over because another login replaced the
// hash that it verified. That happens after the costs of hashing were raised.
const loginAttempts = 4

// Login checks a password and starts a session. Its errors are those of
// [Accounts.VerifyPassword] and of Approve, and a *[ThrottledError] where too many
// logins have failed: then the password was not looked at.
func (a *Accounts) Login(ctx context.Context, login Login) (*SessionState, error) {
	attempt, err := a.beginLogin(ctx, login.Username, login.Address)
	if err != nil {
		return nil, err
	}
	defer attempt.release() // also if Approve panics
	state, err := a.login(ctx, login)
	return state, attempt.end(ctx, err)
}

func (a *Accounts) login(ctx context.Context, login Login) (*SessionState, error) {
	approved := NilID // the account that Approve has let in
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
		case Refused(err): // the account was disabled or removed a moment ago
			return nil, &CredentialsError{AccountID: account.ID, Err: err}
		case !isHashReplaced(err):
			if err == nil && state.Unfamiliar {
				a.tellNewLogin(state, login.Address)
			}
			return state, err
		case attempt == loginAttempts:
			return nil, unavailable("logging in", errHashReplaced)
		}
	}
}

// loginMails is how many mails an account gets in an hour about new logins. A client can
// make each of its logins look new.
const loginMails = 5

func (a *Accounts) tellNewLogin(state *SessionState, address string) {
	mail := &Mail{
		Kind: MailNewLogin, To: state.Account.Email, Account: state.Account.Name, Time: a.now(),
		Address: address, ClientID: state.Session.ClientID, UserAgent: state.Session.UserAgent,
	}
	id := state.Account.ID.Hex()
	a.enqueue(func(ctx context.Context) (*Mail, error) {
		err := a.takeMail(ctx, attemptKey("login", id), loginMails)
		if errors.Is(err, ErrThrottled) {
			return nil, nil
		}
		return mail, err
	})
}

// VerifyPassword finds an account and checks its password. username is the name of the
// account, or its e-mail if it holds an "@". Pass the returned account to
// [Accounts.StartSession], as proof of the password.
//
// The error is a *[CredentialsError] for an unknown name, for a wrong password and for a
// disabled account. All three take the time of one password hash, so that the time does
// not reveal which accounts exist. A password that no account can have, for example an
// empty one, is refused at once without looking up the account.
//
// If the hash is outdated, for example because the costs were raised, VerifyPassword
// replaces it.
//
// VerifyPassword does not count failures. Let users in from outside with [Accounts.Login].
func (a *Accounts) VerifyPassword(ctx context.Context, username, pass string) (*Account, error) {
	prepared, err := preparePassword(pass)
	if err != nil {
		return nil, &CredentialsError{Err: err}
	}
	for attempt := 1; ; attempt++ {
		account, outdated, err := a.checkPassword(ctx, pass, func() (*Account, error) {
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
		switch {
		case !isHashReplaced(err):
			return account, err
		case attempt == loginAttempts: // the password was right each time
			return nil, unavailable("checking the password", errHashReplaced)
		}
	}
}

func (a *Accounts) findByUsername(ctx context.Context, username string) (*Account, error) {
	if strings.Contains(username, "@") {
		return a.FindByEmail(ctx, username)
	}
	return a.FindByName(ctx, username)
}

// checkPassword checks a password, as it was typed, of the account that find returns. The
// caller has found that it can be prepared. See PasswordHasher.Verify for when it calls find.
func (a *Accounts) checkPassword(ctx context.Context, pass string, find func() (*Account, error)) (account *Account, outdated bool, err error) {
	var lookUp error
	match, outdated, err := a.passwords.Verify(ctx, pass, func() (string, error) {
		account, lookUp = find()
		if errors.Is(lookUp, ErrNotFound) || errors.Is(lookUp, ErrInvalid) {
			account, lookUp = &Account{}, nil // its empty hash takes as long and matches nothing
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
		return nil, false, unavailable("checking the password", errors.New("the hasher did not call for the stored hash"))
	case account != nil && (errors.Is(err, password.ErrHash) || errors.Is(err, password.ErrTooCostly)):
		return nil, false, &CredentialsError{AccountID: account.ID, Err: err}
	case err != nil:
		return nil, false, unavailable("checking the password", err)
	case !match:
		return nil, false, &CredentialsError{AccountID: account.ID}
	}
	return account, outdated, nil
}

// hash returns the hash of a prepared password.
func (a *Accounts) hash(ctx context.Context, prepared string) (string, error) {
	hash, err := a.passwords.Hash(ctx, prepared)
	if err != nil && !errors.Is(err, ErrInvalid) {
		return "", unavailable("hashing the password", err)
	}
	return hash, err
}

// errHashReplaced means that the account has another hash than the one that was
// verified. The password was changed, or another login replaced an outdated hash.
var errHashReplaced = errors.New("store: the password hash was replaced in the meantime")

func isHashReplaced(err error) bool {
	var failed *CredentialsError
	return errors.As(err, &failed) && failed.Err == errHashReplaced
}

// rehash replaces the hash that was verified, and no other. If hashing fails, the old
// hash stays until the next login: the password was right all the same.
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
			return ErrUnchanged // done already: the reply to the write was lost
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
