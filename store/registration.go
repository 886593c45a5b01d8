package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Registration is what somebody says of an account that they want.
type Registration struct {
	// Name and Email are required, see PrepareName and PrepareEmail.
	Name, Email string
	// Phone is optional.
	Phone string
	// Address is the network address of the client. Config.Codes counts mails by it.
	Address string
}

// StartRegistration mails a code to the address. [Accounts.ConfirmRegistration] makes the
// account with it. Until then nothing is reserved, and no account exists.
//
// If the address belongs to an account, its owner gets a mail that says so, and no code.
// StartRegistration does not tell the difference. Nor does it look whether the name is
// taken.
//
// It returns an error that matches [ErrInvalid] and names each wrong field, a
// *[ThrottledError] if too many mails were asked for, see Config.Codes, or [ErrNoMailer].
func (a *Accounts) StartRegistration(ctx context.Context, wanted Registration) error {
	name, nameError := PrepareName(wanted.Name)
	emailKey, emailError := a.prepareRegisteredEmail(wanted.Email)
	if err := inOneLine([]error{nameError, emailError, checkPhone(wanted.Phone)}); err != nil {
		return err
	}
	// The id is chosen here, so that the code can make one account only.
	allows := pendingCode{AccountID: NewID(), Name: name, Email: wanted.Email, Phone: wanted.Phone}
	asked := a.now()
	return a.mailCode(ctx, emailKey, wanted.Address, func(ctx context.Context) (*Mail, error) {
		mail := &Mail{Kind: MailRegistration, To: wanted.Email, Account: name, Time: asked, Address: wanted.Address}
		return a.mailTo(ctx, emailKey, mail, codeRegistration, allows)
	})
}

// mailTo completes a mail with a code for an address that belongs to no account. If it
// belongs to one, other than the account of the code, the mail tells its owner instead.
func (a *Accounts) mailTo(ctx context.Context, emailKey string, mail *Mail, kind string, allows pendingCode) (*Mail, error) {
	owner, err := a.backend.FindByEmail(ctx, emailKey)
	switch {
	case err == nil && owner.ID != allows.AccountID:
		return &Mail{Kind: MailAddressInUse, To: owner.Email, Account: owner.Name, Time: mail.Time, Address: mail.Address}, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return nil, unavailable("looking up an e-mail", err)
	}
	mail.Code, mail.Expires, err = a.newCode(ctx, kind, allows)
	if err != nil {
		return nil, err
	}
	return mail, nil
}

func (a *Accounts) prepareRegisteredEmail(address string) (emailKey string, err error) {
	emailKey, err = PrepareEmail(address)
	if err != nil || len(a.registrationDomains) == 0 {
		return emailKey, err
	}
	domain := emailKey[strings.LastIndexByte(emailKey, '@')+1:]
	if !slices.Contains(a.registrationDomains, domain) {
		return "", &InvalidError{"email", "must be an address at " + strings.Join(a.registrationDomains, " or ")}
	}
	return emailKey, nil
}

// prepareDomains returns the domains as PrepareEmail writes them.
func prepareDomains(domains []string) (prepared []string, problems []string) {
	for i, domain := range domains {
		emailKey, err := PrepareEmail("x@" + domain)
		if err != nil {
			problems = append(problems, fmt.Sprintf("RegistrationDomains[%d] is %q, which is no domain: give one such as example.org", i, domain))
			continue
		}
		prepared = append(prepared, strings.TrimPrefix(emailKey, "x@"))
	}
	return prepared, problems
}

// RegistrationConfirmation completes a registration.
type RegistrationConfirmation struct {
	// Code is the code of the mail.
	Code     string
	Password string
	// Name, if set, replaces the name of the registration: somebody else may have taken
	// that one in the meantime.
	Name string
	// Address is the network address of the client. It has a share of the password
	// hasher, as at a login, see Throttle.AddressPending.
	Address string
}

// ConfirmRegistration makes the account of a registration. The password comes from whoever
// has read the mail. So nobody who registers with a stranger's address knows the password.
//
// It returns [ErrCode] if the code is wrong, was used or has expired. The code stays good
// after any other error: an *[ExistsError] if the name or the e-mail is taken by now, an
// error that matches [ErrInvalid] for a name or a password that is refused, and an outage.
// (An outage can hide that the account was made. Then the code was used, and the user can
// log in.)
func (a *Accounts) ConfirmRegistration(ctx context.Context, confirmation RegistrationConfirmation) (*Account, error) {
	allows, err := a.lookAtCode(ctx, codeRegistration, confirmation.Code)
	if err != nil {
		return nil, err
	}
	if err := a.registrationIsOpen(ctx, allows); err != nil {
		return nil, err
	}
	wanted := NewAccount{ID: allows.AccountID, Name: allows.Name, Email: allows.Email, Phone: allows.Phone}
	if confirmation.Name != "" {
		wanted.Name = confirmation.Name
	}
	account := new(Account)
	var nameError, emailError error
	account.Name, nameError = PrepareName(wanted.Name)
	account.EmailKey, emailError = PrepareEmail(wanted.Email)
	if err := inOneLine([]error{nameError, emailError}); err != nil {
		return nil, err
	}
	prepared, err := a.checkNewPassword(ctx, account, confirmation.Password)
	if err != nil {
		return nil, err
	}
	if err := a.checkFree(ctx, account); err != nil {
		if used := a.registrationIsOpen(ctx, allows); used != nil {
			return nil, used // the code itself has just made the account that is in the way
		}
		return nil, err
	}
	made, err := a.hashFrom(ctx, confirmation.Address, prepared)
	if err != nil {
		return nil, err
	}
	wanted.PasswordHash = made.hash
	// Only one caller gets the code. It is taken before the account is made: afterwards
	// the account may be gone again, and the code would make another one.
	mark, err := a.takeCode(ctx, codeRegistration, confirmation.Code)
	if err == nil {
		account, err = a.Create(ctx, wanted)
	}
	if err != nil {
		a.giveCodeBack(ctx, codeRegistration, confirmation.Code, mark)
		return nil, err
	}
	return account, nil
}

// checkFree returns an error if the name or the e-mail is taken. It saves the work of a
// hash: Create looks again.
func (a *Accounts) checkFree(ctx context.Context, wanted *Account) error {
	_, nameError := a.backend.FindByName(ctx, wanted.Name)
	_, emailError := a.backend.FindByEmail(ctx, wanted.EmailKey)
	switch {
	case nameError == nil:
		return &ExistsError{"name"}
	case !errors.Is(nameError, ErrNotFound):
		return nameError
	case emailError == nil:
		return &ExistsError{"email"}
	case !errors.Is(emailError, ErrNotFound):
		return emailError
	}
	return nil
}

// registrationIsOpen returns ErrCode if the code of a registration has made its account.
func (a *Accounts) registrationIsOpen(ctx context.Context, allows pendingCode) error {
	_, err := a.backend.FindByID(ctx, allows.AccountID)
	switch {
	case err == nil:
		return ErrCode
	case !errors.Is(err, ErrNotFound):
		return err
	}
	return nil
}
