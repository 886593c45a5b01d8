package store

import (
	"context"
	"errors"
)

// passwordCheck says whether a new password is good enough: nil, a *PasswordError, or an
// outage.
type passwordCheck func(ctx context.Context, prepared, name, emailKey string) error

// credentials are what a new password changes in an account.
type credentials struct {
	hash string
	// version is random. It replaces the credentials version, which codes are bound to.
	version int64
}

// newCredentials checks and hashes a new password of an account.
func (a *Accounts) newCredentials(ctx context.Context, account *Account, newPassword string) (credentials, error) {
	prepared, err := a.checkNewPassword(ctx, account, newPassword)
	if err != nil {
		return credentials{}, err
	}
	hash, err := a.hash(ctx, prepared)
	return credentials{hash, newRotationID()}, err
}

// checkNewPassword prepares a new password of an account and asks the policy.
func (a *Accounts) checkNewPassword(ctx context.Context, account *Account, newPassword string) (prepared string, err error) {
	if prepared, err = a.policy.prepare(newPassword); err != nil {
		return "", err
	}
	return prepared, a.policy.check(ctx, prepared, account.Name, account.EmailKey)
}

// hashFrom hashes a checked password for a client that has proven nothing but a code. Its
// address has a share of the hasher, as at a login.
func (a *Accounts) hashFrom(ctx context.Context, address, prepared string) (credentials, error) {
	attempt, err := a.beginLogin(ctx, "", address)
	if err != nil {
		return credentials{}, err
	}
	defer attempt.release()
	hash, err := a.hash(ctx, prepared)
	return credentials{hash, newRotationID()}, err
}

// setCredentials gives the account a new password and ends all sessions.
func (a *Account) setCredentials(c credentials) {
	a.PasswordHash = c.hash
	a.CredentialsVersion = c.version
	a.Sessions = a.Sessions[:0]
}

// SetPassword gives an account a new password and ends all its sessions. A password that
// Config.PasswordPolicy refuses is a *[PasswordError], which matches [ErrInvalid].
func (a *Accounts) SetPassword(ctx context.Context, id ID, newPassword string) error {
	_, err := a.Change(ctx, id, Changes{Password: &newPassword})
	return err
}

// ChangePassword is for a user who knows the current password. It gives the account a new
// password, ends all sessions, and starts a new one, all in one write. So the user stays
// logged in, and everybody else is out.
//
// It returns an error that matches [ErrCredentials] if the current password is wrong, a
// *[ThrottledError] if too many checks have failed, see Config.Throttle, [ErrDisabled], and
// a *[PasswordError] for a new password that is refused.
func (a *Accounts) ChangePassword(ctx context.Context, id ID, currentPassword, newPassword string, start NewSession) (*SessionState, error) {
	session := a.newSession(start)
	state := &SessionState{Session: session}
	var made credentials // once
	err := a.withPassword(ctx, id, currentPassword, func(verified *Account) (err error) {
		if made.hash == "" {
			if made, err = a.newCredentials(ctx, verified, newPassword); err != nil {
				return err
			}
		}
		return a.change(ctx, id, func(current *Account) error {
			state.Account = current
			switch {
			case current.Disabled:
				return ErrDisabled
			case current.CredentialsVersion == made.version:
				return ErrUnchanged // done already: the reply to the write was lost
			case current.PasswordHash != verified.PasswordHash:
				return &CredentialsError{AccountID: id, Err: errHashReplaced}
			}
			current.setCredentials(made)
			current.Sessions = append(current.Sessions, session)
			current.LastAction = session.Created
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	a.tellPasswordChanged(state.Account)
	return state, nil
}

// RemoveWithPassword does what [Accounts.Remove] does, for a user who knows the current
// password. Its errors are those of [Accounts.ChangePassword] and [ErrLastAdmin]. After an
// outage the account may be there and disabled.
func (a *Accounts) RemoveWithPassword(ctx context.Context, id ID, currentPassword string) error {
	return a.withPassword(ctx, id, currentPassword, func(verified *Account) error {
		if err := a.keepAdmin(ctx, id); err != nil {
			return err
		}
		// The owner cannot try again: the account is disabled after the first step.
		for attempt := 1; ; attempt++ {
			err := a.removeVerified(ctx, verified)
			if !errors.Is(err, ErrUnavailable) || attempt == removeAttempts {
				return err
			}
		}
	})
}

// removeVerified removes an account that still has the password that was verified. A backend
// deletes without a condition, so the account is disabled first.
func (a *Accounts) removeVerified(ctx context.Context, verified *Account) error {
	err := a.change(ctx, verified.ID, func(current *Account) error {
		if current.PasswordHash != verified.PasswordHash {
			return &CredentialsError{AccountID: current.ID, Err: errHashReplaced}
		}
		current.Disabled = true
		current.Sessions = current.Sessions[:0]
		return nil
	})
	if err == nil {
		err = a.backend.Delete(ctx, verified.ID)
	}
	if errors.Is(err, ErrNotFound) {
		return nil // done already: the reply to the write was lost, or somebody else removed it
	}
	return err
}

const removeAttempts = 3

// withPassword checks the current password of an account, and counts it as a login. Then it
// calls do with the account. If do finds that the hash was replaced in the meantime,
// withPassword starts over: the user may have logged in and so upgraded it.
func (a *Accounts) withPassword(ctx context.Context, id ID, currentPassword string, do func(verified *Account) error) error {
	attempt, err := a.beginCheck(ctx, id)
	if err != nil {
		return err
	}
	defer attempt.release()
	return attempt.end(ctx, a.verifyAnd(ctx, id, currentPassword, do))
}

func (a *Accounts) verifyAnd(ctx context.Context, id ID, currentPassword string, do func(verified *Account) error) error {
	if _, err := preparePassword(currentPassword); err != nil {
		return &CredentialsError{AccountID: id, Err: err}
	}
	for attempt := 1; ; attempt++ {
		var missing error
		verified, _, err := a.checkPassword(ctx, currentPassword, func() (account *Account, err error) {
			account, err = a.backend.FindByID(ctx, id)
			if errors.Is(err, ErrNotFound) {
				missing = err
			}
			return account, err
		})
		if missing != nil {
			return missing
		}
		switch {
		case err != nil:
			return err
		case verified.Disabled:
			return ErrDisabled
		}
		err = do(verified)
		switch {
		case !isHashReplaced(err):
			return err
		case attempt == loginAttempts:
			return unavailable("checking the password", errHashReplaced)
		}
	}
}

func (a *Accounts) tellPasswordChanged(account *Account) {
	a.tell(Mail{Kind: MailPasswordChanged, To: account.Email, Account: account.Name})
}
