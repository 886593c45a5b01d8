package store

import (
	"context"
	"errors"
)

// EmailChange asks for a new e-mail.
type EmailChange struct {
	// Email is the new address.
	Email string
	// CurrentPassword is the password of the account.
	CurrentPassword string
	// Address is the network address of the client. Config.Codes counts mails by it.
	Address string
}

// StartEmailChange mails a code to the new address. [Accounts.ConfirmEmailChange] makes it
// the address of the account. If the address belongs to another account, its owner gets a
// mail that says so, and no code. StartEmailChange does not tell the difference.
//
// It returns an error that matches [ErrInvalid] or [ErrCredentials], a *[ThrottledError] if
// too many passwords were wrong or too many mails were asked for, [ErrDisabled], or
// [ErrNoMailer].
func (a *Accounts) StartEmailChange(ctx context.Context, id ID, wanted EmailChange) error {
	emailKey, err := PrepareEmail(wanted.Email)
	if err != nil {
		return err
	}
	if a.mailer == nil {
		return ErrNoMailer // before the work of checking the password
	}
	var account *Account
	err = a.withPassword(ctx, id, wanted.CurrentPassword, func(verified *Account) error {
		account = verified
		return nil
	})
	if err != nil {
		return err
	}
	allows := pendingCode{AccountID: id, Version: account.CredentialsVersion, Email: wanted.Email}
	asked := a.now()
	return a.mailCode(ctx, emailKey, wanted.Address, func(ctx context.Context) (*Mail, error) {
		mail := &Mail{
			Kind: MailEmailChange, To: wanted.Email, Account: account.Name, NewEmail: wanted.Email, Time: asked, Address: wanted.Address,
		}
		return a.mailTo(ctx, emailKey, mail, codeEmailChange, allows)
	})
}

// ConfirmEmailChange gives the account the address that the code was mailed to, and tells
// the old address. id is the account that asks: a code that went to a mistyped address is of
// no use to whoever reads it there.
//
// It returns [ErrCode] if the code is wrong, was used or has expired, if another account
// asked for it, or if the password or the e-mail was changed since. The code stays good
// after an *[ExistsError], which says that another account took the address, and after an
// outage.
func (a *Accounts) ConfirmEmailChange(ctx context.Context, id ID, code string) error {
	allows, err := a.lookAtCode(ctx, codeEmailChange, code)
	if err != nil {
		return err
	}
	emailKey, err := PrepareEmail(allows.Email)
	if err != nil || allows.AccountID != id {
		return ErrCode
	}
	version := newRotationID()
	old := &Account{}
	err = a.change(ctx, id, func(account *Account) error {
		if account.CredentialsVersion == version {
			return ErrUnchanged // done already: the reply to the write was lost
		}
		if !account.accepts(allows) {
			return ErrCode
		}
		old.Name, old.Email = account.Name, account.Email
		account.Email, account.EmailKey = allows.Email, emailKey
		account.CredentialsVersion = version
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return ErrCode
	}
	if err != nil {
		return err
	}
	a.dropCode(ctx, codeEmailChange, code)
	a.tellEmailChanged(old, allows.Email)
	return nil
}

// tellEmailChanged mails the old address of an account, in case that its owner did not ask
// for the new one.
func (a *Accounts) tellEmailChanged(old *Account, newEmail string) {
	if old.Email != newEmail {
		a.tell(Mail{Kind: MailEmailChanged, To: old.Email, Account: old.Name, NewEmail: newEmail})
	}
}
