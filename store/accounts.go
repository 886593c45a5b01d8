package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Accounts is the account service. It is safe for concurrent use, in one process
// and in any number of processes over one backend.
//
// Its methods return [ErrNotFound] where no account has the id, and an error that
// matches [ErrUnavailable] where the backend does not answer.
type Accounts struct {
	backend     Backend
	passwords   PasswordHasher
	refreshTTL  time.Duration
	sessionTTL  time.Duration
	rotation    rotation
	maxSessions int
	clock       func() time.Time
	cache       *accountCache // nil where it is off
	throttle    Throttle
	attempts    *attempts // failed logins
}

// now is the time as every backend can keep it.
func (a *Accounts) now() time.Time { return a.clock().UTC().Truncate(time.Millisecond) }

// NewAccount is what [Accounts.Create] needs. Exactly one of Password, PasswordHash
// and NoPassword must be set.
type NewAccount struct {
	// Name and Email are required and unique; see PrepareName and PrepareEmail.
	Name, Email string
	// Phone is optional.
	Phone string
	// Password is 1 to 1,024 bytes of UTF-8.
	Password string
	// PasswordHash is a hash that Config.Passwords can verify, for an account that
	// moves in from elsewhere.
	PasswordHash string
	// NoPassword makes an account that no password lets in, such as a service
	// account. Its sessions are issued to it.
	NoPassword bool
	// Groups the account is in from the start.
	Groups []string
}

// Create makes an account. It returns an error that matches [ErrInvalid] and names
// each wrong field, or an *[ExistsError].
func (a *Accounts) Create(ctx context.Context, what NewAccount) (*Account, error) {
	now := a.now()
	account := &Account{
		ID: NewID(), Email: what.Email, Phone: what.Phone, PasswordHash: what.PasswordHash,
		Created: now, Modified: now, LastAction: now,
		Groups: []string{}, Sessions: []Session{},
		Format: RecordFormat,
	}
	var nameError, emailError error
	account.Name, nameError = PrepareName(what.Name)
	account.EmailKey, emailError = PrepareEmail(what.Email)
	prepared, passwordError := what.password()
	problems := []error{nameError, emailError, passwordError, checkPhone(what.Phone)}
	for _, group := range what.Groups {
		problems = append(problems, checkGroup(group))
		account.addGroup(group)
	}
	if err := inOneLine(problems); err != nil {
		return nil, err
	}
	if prepared != "" {
		hash, err := a.hash(ctx, prepared)
		if err != nil {
			return nil, err
		}
		account.PasswordHash = hash
	}
	if err := a.backend.Create(ctx, account); err != nil {
		return nil, err
	}
	return account, nil
}

// password returns the prepared password, empty where there is none to hash.
func (n *NewAccount) password() (prepared string, err error) {
	set := 0
	for _, isSet := range []bool{n.Password != "", n.PasswordHash != "", n.NoPassword} {
		if isSet {
			set++
		}
	}
	switch {
	case set != 1:
		return "", &InvalidError{"password", "exactly one of Password, PasswordHash and NoPassword must be set"}
	case n.Password != "":
		return preparePassword(n.Password)
	}
	return "", checkHash(n.PasswordHash)
}

// inOneLine is errors.Join for a message of one line.
func inOneLine(problems []error) (all error) {
	for _, problem := range problems {
		switch {
		case problem == nil:
		case all == nil:
			all = problem
		default:
			all = fmt.Errorf("%w; %w", all, problem)
		}
	}
	return all
}

// EnsureRoot makes the account with the name, in group [AdminGroup], if there is
// no account with that name yet, and never touches one that is there. Without a
// password it makes one up; it returns the password the account was made with. Of
// several processes that call it at once exactly one gets created as true.
func (a *Accounts) EnsureRoot(ctx context.Context, name, email, password string) (usedPassword string, created bool, err error) {
	_, err = a.FindByName(ctx, name)
	if !errors.Is(err, ErrNotFound) {
		return "", false, err
	}
	if password == "" {
		password = rand.Text()
	}
	_, err = a.Create(ctx, NewAccount{Name: name, Email: email, Password: password, Groups: []string{AdminGroup}})
	var exists *ExistsError
	if errors.As(err, &exists) && exists.Field == "name" {
		return "", false, nil // another process was faster
	}
	if err != nil {
		return "", false, fmt.Errorf("store: making the root account: %w", err)
	}
	return password, true, nil
}

// AdminGroup is the group of the root account.
const AdminGroup = "admin"

// FindByID finds an account by its id.
func (a *Accounts) FindByID(ctx context.Context, id ID) (*Account, error) {
	return a.backend.FindByID(ctx, id)
}

// FindByName finds an account by its name, in whatever case.
func (a *Accounts) FindByName(ctx context.Context, name string) (*Account, error) {
	prepared, err := PrepareName(name)
	if err != nil {
		return nil, err
	}
	return a.backend.FindByName(ctx, prepared)
}

// FindByEmail finds an account by its e-mail, in whatever case. Mail must go to
// the Email of the account found, never to the address that was looked for: the
// two may be alike here and yet belong to two people elsewhere.
func (a *Accounts) FindByEmail(ctx context.Context, address string) (*Account, error) {
	prepared, err := PrepareEmail(address)
	if err != nil {
		return nil, err
	}
	return a.backend.FindByEmail(ctx, prepared)
}

// SetPassword gives an account a new password and ends all its sessions.
func (a *Accounts) SetPassword(ctx context.Context, id ID, newPassword string) error {
	prepared, err := preparePassword(newPassword)
	if err != nil {
		return err
	}
	hash, err := a.hash(ctx, prepared)
	if err != nil {
		return err
	}
	return a.change(ctx, id, func(account *Account) error {
		if account.PasswordHash == hash {
			return ErrUnchanged // a write whose reply was lost
		}
		account.PasswordHash = hash
		account.Sessions = account.Sessions[:0]
		return nil
	})
}

// ChangePassword is [Accounts.SetPassword] for someone who knows the old password.
// It returns an error that matches [ErrCredentials] if that is wrong.
func (a *Accounts) ChangePassword(ctx context.Context, id ID, oldPassword, newPassword string) error {
	prepared, err := preparePassword(newPassword)
	if err != nil {
		return err
	}
	old, err := preparePassword(oldPassword)
	if err != nil {
		return &CredentialsError{AccountID: id, Err: err}
	}
	hash := "" // made once
	for attempt := 1; ; attempt++ {
		var missing error
		verified, _, err := a.checkPassword(ctx, old, func() (account *Account, err error) {
			account, err = a.backend.FindByID(ctx, id)
			if errors.Is(err, ErrNotFound) {
				missing = err
			}
			return account, err
		})
		if missing != nil {
			return missing
		}
		if err != nil {
			return err
		}
		if hash == "" {
			if hash, err = a.hash(ctx, prepared); err != nil {
				return err
			}
		}
		err = a.change(ctx, id, func(current *Account) error {
			switch current.PasswordHash {
			case hash:
				return ErrUnchanged // a write whose reply was lost
			case verified.PasswordHash:
				current.PasswordHash = hash
				current.Sessions = current.Sessions[:0]
				return nil
			}
			return &CredentialsError{AccountID: id, Err: errHashReplaced}
		})
		if !isHashReplaced(err) || attempt == loginAttempts {
			return err
		}
	}
}

// Disable keeps an account from logging in and ends all its sessions.
func (a *Accounts) Disable(ctx context.Context, id ID) error {
	return a.change(ctx, id, func(account *Account) error {
		if account.Disabled {
			return ErrUnchanged
		}
		account.Disabled = true
		account.Sessions = account.Sessions[:0]
		return nil
	})
}

// Enable lets a disabled account log in again.
func (a *Accounts) Enable(ctx context.Context, id ID) error {
	return a.change(ctx, id, func(account *Account) error {
		if !account.Disabled {
			return ErrUnchanged
		}
		account.Disabled = false
		return nil
	})
}

// Remove deletes an account, its sessions with it.
func (a *Accounts) Remove(ctx context.Context, id ID) error {
	return a.backend.Delete(ctx, id)
}

// AddToGroup puts an account into a group. It is in force with the next request.
func (a *Accounts) AddToGroup(ctx context.Context, id ID, group string) error {
	if err := checkGroup(group); err != nil {
		return err
	}
	return a.change(ctx, id, func(account *Account) error {
		if !account.addGroup(group) {
			return ErrUnchanged
		}
		return nil
	})
}

// RemoveFromGroup takes an account out of a group. It is in force with the next
// request.
func (a *Accounts) RemoveFromGroup(ctx context.Context, id ID, group string) error {
	return a.change(ctx, id, func(account *Account) error {
		at, found := slices.BinarySearch(account.Groups, group)
		if !found {
			return ErrUnchanged
		}
		account.Groups = slices.Delete(account.Groups, at, at+1)
		return nil
	})
}

func (a *Account) addGroup(group string) (added bool) {
	at, found := slices.BinarySearch(a.Groups, group)
	if !found {
		a.Groups = slices.Insert(a.Groups, at, group)
	}
	return !found
}

// Ping returns nil if the backend answers.
func (a *Accounts) Ping(ctx context.Context) error { return a.backend.Ping(ctx) }

// change is Backend.Update for what an administrator would call a change of the account.
func (a *Accounts) change(ctx context.Context, id ID, change func(*Account) error) error {
	now := a.now()
	return a.backend.Update(ctx, id, func(account *Account) error {
		account.Modified = now
		return change(account)
	})
}
