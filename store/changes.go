package store

import (
	"context"
	"reflect"
)

// Changes are what [Accounts.Change] changes of an account. A nil field stays as it is.
type Changes struct {
	Name  *string
	Email *string
	// Phone is removed if it is empty.
	Phone    *string
	Password *string
	Disabled *bool
}

// Change changes an account in one write and returns it. A new password ends all its
// sessions, and so does disabling it. A new password or e-mail voids all codes that were
// mailed to the account, and the owner is told by mail.
//
// It returns an error that matches [ErrInvalid] and names each wrong field, or an
// *[ExistsError] if another account has the name or the e-mail. It returns [ErrLastAdmin] if
// no enabled account would be left in [AdminGroup].
func (a *Accounts) Change(ctx context.Context, id ID, changes Changes) (*Account, error) {
	wanted, err := changes.prepare()
	if err != nil {
		return nil, err
	}
	if changes.Disabled != nil && *changes.Disabled {
		if err := a.keepAdmin(ctx, id); err != nil {
			return nil, err
		}
	}
	var made credentials
	if changes.Password != nil {
		account, err := a.backend.FindByID(ctx, id)
		if err != nil {
			return nil, err
		}
		account = account.Clone()
		wanted.apply(account)
		if made, err = a.newCredentials(ctx, account, *changes.Password); err != nil {
			return nil, err
		}
	}
	now := a.now()
	version := newRotationID()
	var old, changed *Account
	err = a.backend.Update(ctx, id, func(account *Account) error {
		before := account.Clone()
		wanted.apply(account)
		if account.Email != before.Email {
			account.CredentialsVersion = version
		}
		if made.hash != "" && account.CredentialsVersion != made.version {
			account.setCredentials(made)
		}
		changed = account
		if reflect.DeepEqual(account, before) {
			return ErrUnchanged // perhaps done already: the reply to the write was lost
		}
		old = before
		account.Modified = now
		return nil
	})
	if err != nil {
		return nil, err
	}
	if old != nil {
		a.tellEmailChanged(old, changed.Email)
	}
	if made.hash != "" {
		a.tellPasswordChanged(changed)
	}
	return changed, nil
}

// Fields returns the names of the fields that are not nil, as JSON has them.
func (c *Changes) Fields() (names []string) {
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"name", c.Name != nil}, {"email", c.Email != nil}, {"phone", c.Phone != nil},
		{"password", c.Password != nil}, {"disabled", c.Disabled != nil},
	} {
		if field.set {
			names = append(names, field.name)
		}
	}
	return names
}

// preparedChanges are Changes that were checked, but for the password.
type preparedChanges struct {
	Changes
	emailKey string
}

func (c Changes) prepare() (prepared preparedChanges, err error) {
	prepared = preparedChanges{Changes: c}
	var problems []error
	if c.Name != nil {
		name, err := PrepareName(*c.Name)
		prepared.Name = &name
		problems = append(problems, err)
	}
	if c.Email != nil {
		prepared.emailKey, err = PrepareEmail(*c.Email)
		problems = append(problems, err)
	}
	if c.Phone != nil {
		problems = append(problems, checkPhone(*c.Phone))
	}
	return prepared, inOneLine(problems)
}

func (c *preparedChanges) apply(account *Account) {
	if c.Name != nil {
		account.Name = *c.Name
	}
	if c.Email != nil {
		account.Email, account.EmailKey = *c.Email, c.emailKey
	}
	if c.Phone != nil {
		account.Phone = *c.Phone
	}
	if c.Disabled != nil {
		account.Disabled = *c.Disabled
		if account.Disabled {
			account.Sessions = account.Sessions[:0]
		}
	}
}

// Disable ends all sessions of an account and refuses its logins from now on. It returns
// [ErrLastAdmin] if no enabled account would be left in [AdminGroup].
func (a *Accounts) Disable(ctx context.Context, id ID) error {
	return a.setDisabled(ctx, id, true)
}

// Enable lets a disabled account log in again.
func (a *Accounts) Enable(ctx context.Context, id ID) error {
	return a.setDisabled(ctx, id, false)
}

func (a *Accounts) setDisabled(ctx context.Context, id ID, disabled bool) error {
	_, err := a.Change(ctx, id, Changes{Disabled: &disabled})
	return err
}

// change updates an account and its time of modification.
func (a *Accounts) change(ctx context.Context, id ID, change func(*Account) error) error {
	now := a.now()
	return a.backend.Update(ctx, id, func(account *Account) error {
		account.Modified = now
		return change(account)
	})
}
