package store

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound: there is no such account.
	ErrNotFound = errors.New("store: no such account")
	// ErrExists matches every [ExistsError].
	ErrExists = errors.New("store: already in use")
	// ErrInvalid matches every [InvalidError].
	ErrInvalid = errors.New("store: invalid value")
	// ErrCredentials: the name is unknown or the password is wrong; which of the
	// two is not said. It matches every [CredentialsError].
	ErrCredentials = errors.New("store: unknown name or wrong password")
	// ErrThrottled matches every [ThrottledError].
	ErrThrottled = errors.New("store: too many failed logins")
	// ErrDisabled: the account exists and is disabled.
	ErrDisabled = errors.New("store: the account is disabled")
	// ErrSessionEnded: the session was revoked, has expired, or never was.
	ErrSessionEnded = errors.New("store: the session has ended")
	// ErrRefreshReused: a refresh token was used again when its successor was in
	// use already; the session has been ended for that.
	ErrRefreshReused = errors.New("store: the refresh token was used before; its session has been ended")
	// ErrSuperseded: the access token is of a generation that was replaced, because
	// its reply was presumed lost. Whoever uses it all the same may have stolen the
	// refresh token. The session lives on.
	ErrSuperseded = errors.New("store: the access token was replaced before it was used")
	// ErrUnavailable: the backend cannot answer now. Trying again later may help.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrUnchanged is what a change function returns to [Backend] where there is
	// nothing to write. No method of [Accounts] returns it.
	ErrUnchanged = errors.New("store: unchanged")
)

// Refused reports whether err is a refusal rather than an outage: whether it is, or
// wraps, [ErrNotFound], [ErrDisabled], [ErrSessionEnded], [ErrSuperseded] or
// [ErrRefreshReused].
func Refused(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrDisabled) || errors.Is(err, ErrSessionEnded) ||
		errors.Is(err, ErrSuperseded) || errors.Is(err, ErrRefreshReused)
}

// ExistsError says that another account has the same name or e-mail already.
type ExistsError struct {
	// Field is "name" or "email".
	Field string
}

func (e *ExistsError) Error() string { return "store: another account has this " + e.Field }

// Is makes the error match ErrExists.
func (e *ExistsError) Is(target error) bool { return target == ErrExists }

// InvalidError says that a value cannot be stored. It does not repeat the value.
type InvalidError struct {
	// Field is "name", "email", "phone", "password" or "group".
	Field string
	// Reason says what the value must be.
	Reason string
}

func (e *InvalidError) Error() string { return "store: invalid " + e.Field + ": " + e.Reason }

// Is makes the error match ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// CredentialsError is a failed login. Its text never says more than that; the
// fields are for the log.
type CredentialsError struct {
	// AccountID is the account whose password was wrong, NilID where no account
	// has the name.
	AccountID ID
	// Err is why a right password could not have helped, such as ErrDisabled, or
	// a stored hash that is refused. Nil in the ordinary case.
	Err error
}

func (e *CredentialsError) Error() string { return ErrCredentials.Error() }

// Is makes the error match ErrCredentials.
func (e *CredentialsError) Is(target error) bool { return target == ErrCredentials }

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}
