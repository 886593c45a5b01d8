package store

import (
	"context"
	"errors"
	"strings"

	"github.com/oauthsv/oauthsv/store/password"
)

// Authenticate finds an account by its name, or by its e-mail where username
// holds an "@", and checks the password. The error is a *[CredentialsError] for
// an unknown name, a wrong password and a disabled account alike, and each of
// these takes the time of one password hash.
//
// The account it returns is what [Accounts.StartSession] takes as proof of the
// password. A hash made with older costs is replaced on the way.
func (a *Accounts) Authenticate(ctx context.Context, username, pass string) (*Account, error) {
	account, err := a.findByUsername(ctx, username)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		account = &Account{} // no hash: it takes its time and matches nothing
	} else if err != nil {
		return nil, err
	}
	outdated, err := a.verifyPassword(ctx, account, pass)
	if err != nil {
		return nil, err
	}
	if account.Disabled {
		return nil, &CredentialsError{AccountID: account.ID, Err: ErrDisabled}
	}
	if outdated {
		return a.rehash(ctx, account, pass)
	}
	return account, nil
}

func (a *Accounts) findByUsername(ctx context.Context, username string) (*Account, error) {
	if strings.Contains(username, "@") {
		return a.FindByEmail(ctx, username)
	}
	return a.FindByName(ctx, username)
}

func (a *Accounts) verifyPassword(ctx context.Context, account *Account, pass string) (outdated bool, err error) {
	prepared, err := preparePassword(pass)
	if err != nil {
		// No account can have it, so there is nothing that time could give away.
		return false, &CredentialsError{AccountID: account.ID, Err: err}
	}
	match, outdated, err := a.passwords.Verify(ctx, account.PasswordHash, prepared)
	if errors.Is(err, password.ErrHash) || errors.Is(err, password.ErrTooCostly) {
		refused := err
		if _, _, err = a.passwords.Verify(ctx, "", prepared); err == nil {
			return false, &CredentialsError{AccountID: account.ID, Err: refused}
		}
	}
	if err != nil {
		return false, unavailable("checking the password", err)
	}
	if !match {
		return false, &CredentialsError{AccountID: account.ID}
	}
	return outdated, nil
}

// rehash replaces the hash that was verified, and no other.
func (a *Accounts) rehash(ctx context.Context, verified *Account, pass string) (*Account, error) {
	prepared, err := preparePassword(pass)
	if err != nil {
		return nil, err
	}
	hash, err := a.passwords.Hash(ctx, prepared)
	if err != nil {
		return nil, unavailable("hashing the password anew", err)
	}
	var updated *Account
	err = a.backend.Update(ctx, verified.ID, func(account *Account) error {
		updated = account
		if account.PasswordHash == hash {
			return ErrUnchanged
		}
		if account.PasswordHash != verified.PasswordHash || account.Disabled {
			return &CredentialsError{AccountID: account.ID}
		}
		account.PasswordHash = hash
		return nil
	})
	if err != nil {
		return nil, err
	}
	return updated, nil
}
