package store

import (
	"context"
	"errors"
)

// StartPasswordReset mails a code to the owner of the address, if it belongs to an account
// that is not disabled. [Accounts.ConfirmPasswordReset] sets a new password with it.
//
// clientAddress is the network address of the client, by which Config.Codes counts mails.
//
// Neither the result nor its time tells whether the address is known. The error matches
// [ErrInvalid] for an address that cannot be one. It is a *[ThrottledError] if too many
// mails were asked for, or [ErrNoMailer].
func (a *Accounts) StartPasswordReset(ctx context.Context, email, clientAddress string) error {
	emailKey, err := PrepareEmail(email)
	if err != nil {
		return err
	}
	asked := a.now()
	return a.mailCode(ctx, emailKey, clientAddress, func(ctx context.Context) (*Mail, error) {
		account, err := a.backend.FindByEmail(ctx, emailKey)
		if errors.Is(err, ErrNotFound) || err == nil && account.Disabled {
			return nil, nil
		}
		if err != nil {
			return nil, unavailable("looking up an e-mail", err)
		}
		mail := &Mail{Kind: MailPasswordReset, To: account.Email, Account: account.Name, Time: asked, Address: clientAddress}
		mail.Code, mail.Expires, err = a.newCode(ctx, codePasswordReset, pendingCode{AccountID: account.ID, Version: account.CredentialsVersion})
		if err != nil {
			return nil, err
		}
		return mail, nil
	})
}

// ConfirmPasswordReset sets a new password, ends every session of the account, and forgets
// its failed logins. It returns the id of the account. clientAddress has a share of the
// password hasher, as at a login, see Throttle.AddressPending.
//
// It returns [ErrCode] if the code is wrong, was used or has expired, or if the password or
// the e-mail was changed since the code was mailed. The code stays good after any other
// error: one that matches [ErrInvalid] for a password that is refused, or an outage.
func (a *Accounts) ConfirmPasswordReset(ctx context.Context, code, newPassword, clientAddress string) (ID, error) {
	allows, err := a.lookAtCode(ctx, codePasswordReset, code)
	if err != nil {
		return NilID, err
	}
	account, err := a.backend.FindByID(ctx, allows.AccountID)
	switch {
	case errors.Is(err, ErrNotFound):
		return NilID, ErrCode
	case err != nil:
		return NilID, err
	case !account.accepts(allows):
		return NilID, ErrCode
	}
	prepared, err := a.checkNewPassword(ctx, account, newPassword)
	if err != nil {
		return NilID, err
	}
	credentials, err := a.hashFrom(ctx, clientAddress, prepared)
	if err != nil {
		return NilID, err
	}
	err = a.change(ctx, account.ID, func(current *Account) error {
		if current.CredentialsVersion == credentials.version {
			return ErrUnchanged // done already: the reply to the write was lost
		}
		if !current.accepts(allows) {
			return ErrCode
		}
		current.setCredentials(credentials)
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return NilID, ErrCode
	}
	if err != nil {
		return NilID, err
	}
	a.dropCode(ctx, codePasswordReset, code)
	_ = a.forgetFailures(ctx, account) // the user can wait, and the password is set
	a.tellPasswordChanged(account)
	return account.ID, nil
}

// accepts reports whether a code may still change the credentials of the account.
func (a *Account) accepts(allows pendingCode) bool {
	return !a.Disabled && a.CredentialsVersion == allows.Version
}
