package store

import (
	"context"
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
	policy      PasswordPolicy
	codes       Codes
	mailer      Mailer    // nil if there is none
	mails       *attempts // mails with codes

	registrationDomains []string // if any, the only ones
}

// now returns the time in the precision that every backend can keep.
func (a *Accounts) now() time.Time { return a.clock().UTC().Truncate(time.Millisecond) }

func (a *Accounts) orNow(t time.Time) time.Time {
	if t.IsZero() {
		return a.now()
	}
	return t.UTC().Truncate(time.Millisecond)
}

// NewAccount describes the account that [Accounts.Create] makes. Exactly one of Password,
// PasswordHash and NoPassword must be set.
type NewAccount struct {
	// ID is for an account that moves in from another system. The default is a new one.
	ID ID
	// Name and Email are required and unique; see PrepareName and PrepareEmail.
	Name, Email string
	// Phone is optional.
	Phone string
	// Password is one that Config.PasswordPolicy accepts.
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
	// Disabled, Created, Modified and LastAction are for an account that moves in, see
	// Account. The default of the times is now.
	Disabled                      bool
	Created, Modified, LastAction time.Time
}

// Create makes an account. It returns an error that matches [ErrInvalid] and names
// each wrong field, or an *[ExistsError]. A password that the policy refuses is a
// *[PasswordError].
func (a *Accounts) Create(ctx context.Context, wanted NewAccount) (*Account, error) {
	return a.create(ctx, wanted, a.policy.check)
}

// create makes an account whose password check accepts.
func (a *Accounts) create(ctx context.Context, wanted NewAccount, check passwordCheck) (*Account, error) {
	account := &Account{
		ID: wanted.ID, Email: wanted.Email, Phone: wanted.Phone, PasswordHash: wanted.PasswordHash,
		Disabled: wanted.Disabled,
		Created:  a.orNow(wanted.Created), Modified: a.orNow(wanted.Modified), LastAction: a.orNow(wanted.LastAction),
		Groups: []string{}, Sessions: []Session{},
		// Not 0: the codes of an account that had the same id must not be good for this one.
		CredentialsVersion: newRotationID(),
		Format:             RecordFormat,
	}
	if account.ID == NilID {
		account.ID = NewID()
	}
	var nameError, emailError error
	account.Name, nameError = PrepareName(wanted.Name)
	account.EmailKey, emailError = PrepareEmail(wanted.Email)
	prepared, passwordError := wanted.password(&a.policy)
	problems := []error{nameError, emailError, passwordError, checkPhone(wanted.Phone)}
	for _, group := range wanted.Groups {
		problems = append(problems, checkGroup(group))
		account.addGroup(group)
	}
	if err := inOneLine(problems); err != nil {
		return nil, err
	}
	if prepared != "" {
		if err := check(ctx, prepared, account.Name, account.EmailKey); err != nil {
			return nil, err
		}
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
func (n *NewAccount) password(policy *PasswordPolicy) (prepared string, err error) {
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
		return policy.prepare(n.Password)
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

// Remove deletes an account and its sessions. It returns [ErrLastAdmin] if no enabled
// account would be left in [AdminGroup]. (It looks before it removes. If two administrators
// remove each other at the same moment, both succeed.)
func (a *Accounts) Remove(ctx context.Context, id ID) error {
	if err := a.keepAdmin(ctx, id); err != nil {
		return err
	}
	return a.backend.Delete(ctx, id)
}

// Ping returns nil if the backend answers.
func (a *Accounts) Ping(ctx context.Context) error { return a.backend.Ping(ctx) }
