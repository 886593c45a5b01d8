package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// Accounts is the account service. It is safe for concurrent use by the goroutines of
// one process, and by any number of processes over one database.
//
// Its methods return an error that matches [ErrNotFound] if no account has the id, and
// an error that matches [ErrUnavailable] if the backend does not answer.
type Accounts struct {
	backend     Backend
	passwords   PasswordHasher
	refreshTTL  time.Duration
	sessionTTL  time.Duration
	rotation    rotation
	windowIsTTL bool // the lost reply window is as long as the token lives
	maxSessions int
	clock       func() time.Time
	cache       *accountCache // nil if it is off
	throttle    Throttle
	attempts    *attempts // failed logins
}

// now returns the time in the precision that every backend can keep.
func (a *Accounts) now() time.Time { return a.clock().UTC().Truncate(time.Millisecond) }

// NewAccount describes the account that [Accounts.Create] makes. Exactly one of Password,
// PasswordHash and NoPassword must be set.
type NewAccount struct {
	// Name and Email are required and unique; see PrepareName and PrepareEmail.
	Name, Email string
	// Phone is optional.
	Phone string
	// Password is 1 to 1,024 bytes of UTF-8.
	Password string
	// PasswordHash is for an account that moves in from another system. It must be a
	// hash that Config.Passwords can verify, of at most 1,024 printable ASCII
	// characters. See the example of PasswordHasher for hashes of another kind.
	PasswordHash string
	// NoPassword makes an account that cannot log in with a password, such as a
	// service account. Give it tokens with the method Issue of grant.Server.
	NoPassword bool
	// Groups are the groups that the account starts in.
	Groups []string
}

// Create makes an account. It returns an error that matches [ErrInvalid] and names
// each wrong field, or an *[ExistsError].
func (a *Accounts) Create(ctx context.Context, wanted NewAccount) (*Account, error) {
	now := a.now()
	account := &Account{
		ID: NewID(), Email: wanted.Email, Phone: wanted.Phone, PasswordHash: wanted.PasswordHash,
		Created: now, Modified: now, LastAction: now,
		Groups: []string{}, Sessions: []Session{},
		Format: RecordFormat,
	}
	var nameError, emailError error
	account.Name, nameError = PrepareName(wanted.Name)
	account.EmailKey, emailError = PrepareEmail(wanted.Email)
	prepared, passwordError := wanted.password()
	problems := []error{nameError, emailError, passwordError, checkPhone(wanted.Phone)}
	for _, group := range wanted.Groups {
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

// password returns the prepared password, or an empty text if there is none to hash.
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

// inOneLine joins errors as errors.Join does, but with a message of one line.
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

// EnsureRoot makes an administrator whenever no account has the name, so that somebody can
// always log in to manage the others. The new account is in the group [AdminGroup]. An
// account that already has the name stays as it is, even if it is in no group.
//
// If EnsureRoot makes the account, it returns created as true, and the password of the
// account. If password is empty, it generates one.
//
// If several processes call EnsureRoot at the same time, only one of them makes the
// account and gets created as true.
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

// FindByID finds an account by its id.
func (a *Accounts) FindByID(ctx context.Context, id ID) (*Account, error) {
	return a.backend.FindByID(ctx, id)
}

// FindByName finds an account by its name, in upper or lower case. A malformed name is
// an error that matches [ErrInvalid].
func (a *Accounts) FindByName(ctx context.Context, name string) (*Account, error) {
	prepared, err := PrepareName(name)
	if err != nil {
		return nil, err
	}
	return a.backend.FindByName(ctx, prepared)
}

// FindByEmail finds an account by its e-mail, in upper or lower case. Send mail to the
// Email of the account that it returns, never to the address passed in. The two
// addresses are equal here, but elsewhere they may belong to two people. A malformed
// address is an error that matches [ErrInvalid].
func (a *Accounts) FindByEmail(ctx context.Context, address string) (*Account, error) {
	prepared, err := PrepareEmail(address)
	if err != nil {
		return nil, err
	}
	return a.backend.FindByEmail(ctx, prepared)
}

// SetPassword gives an account a new password and ends all its sessions. An invalid
// password is an error that matches [ErrInvalid].
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
			return ErrUnchanged // done already: the reply to the write was lost
		}
		account.PasswordHash = hash
		account.Sessions = account.Sessions[:0]
		return nil
	})
}

// ChangePassword does what [Accounts.SetPassword] does, for a user who knows the old
// password. It returns an error that matches [ErrCredentials] if the old password is
// wrong, and a *[ThrottledError] if too many checks have failed, see Config.Throttle.
func (a *Accounts) ChangePassword(ctx context.Context, id ID, oldPassword, newPassword string) error {
	prepared, err := preparePassword(newPassword)
	if err != nil {
		return err
	}
	attempt, err := a.beginCheck(ctx, id)
	if err != nil {
		return err
	}
	defer attempt.abandoned()
	return attempt.end(ctx, a.changePassword(ctx, id, oldPassword, prepared))
}

func (a *Accounts) changePassword(ctx context.Context, id ID, oldPassword, prepared string) error {
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
				return ErrUnchanged // done already: the reply to the write was lost
			case verified.PasswordHash:
				current.PasswordHash = hash
				current.Sessions = current.Sessions[:0]
				return nil
			}
			return &CredentialsError{AccountID: id, Err: errHashReplaced}
		})
		switch {
		case !isHashReplaced(err):
			return err
		case attempt == loginAttempts:
			return unavailable("changing the password", errHashReplaced)
		}
	}
}

// Disable ends all sessions of an account and refuses its logins from now on.
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

// Remove deletes an account and its sessions.
func (a *Accounts) Remove(ctx context.Context, id ID) error {
	return a.backend.Delete(ctx, id)
}

// Ping returns nil if the backend answers.
func (a *Accounts) Ping(ctx context.Context) error { return a.backend.Ping(ctx) }

// change updates an account and its time of modification.
func (a *Accounts) change(ctx context.Context, id ID, change func(*Account) error) error {
	now := a.now()
	return a.backend.Update(ctx, id, func(account *Account) error {
		account.Modified = now
		return change(account)
	})
}
