package store

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound means that there is no such account.
	ErrNotFound = errors.New("store: no such account")
	// ErrExists matches every [ExistsError].
	ErrExists = errors.New("store: already in use")
	// ErrInvalid matches every [InvalidError].
	ErrInvalid = errors.New("store: invalid value")
	// ErrCredentials matches every [CredentialsError]. It means that the name is
	// unknown or the password is wrong, and does not say which.
	ErrCredentials = errors.New("store: unknown name or wrong password")
	// ErrThrottled matches every [ThrottledError].
	ErrThrottled = errors.New("store: too many attempts")
	// ErrCode means that a code is wrong, was used, or has expired.
	ErrCode = errors.New("store: the code is wrong, used or expired")
	// ErrLastAdmin means that the group [AdminGroup] would have no enabled account left.
	ErrLastAdmin = errors.New("store: the last administrator cannot be removed, disabled or taken out of the group")
	// ErrNoMailer means that Config.Mailer is not set, and the call has to send a mail.
	ErrNoMailer = errors.New("store: no mail is configured")
	// ErrDisabled means that the account exists and is disabled.
	ErrDisabled = errors.New("store: the account is disabled")
	// ErrSessionEnded means that the session was revoked, has expired, or never
	// existed.
	ErrSessionEnded = errors.New("store: the session has ended")
	// ErrRefreshReused means that a refresh token was used twice, so that two parties
	// seem to hold it. The session has been ended for that reason. See
	// [Accounts.RefreshSession].
	ErrRefreshReused = errors.New("store: the refresh token was used before; its session has been ended")
	// ErrSuperseded means that the access token was replaced because the reply that
	// held it seemed lost. Somebody received that reply after all, and may have stolen
	// the refresh token. The session stays alive.
	ErrSuperseded = errors.New("store: the access token was replaced before it was used")
	// ErrUnavailable means that the backend, or the password hasher, cannot answer
	// now. Trying again later may help.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrUnchanged is for change functions: one returns it to [Backend] when there is
	// nothing to write. No method of [Accounts] returns it.
	ErrUnchanged = errors.New("store: unchanged")
)

// Refused reports whether err refuses a token for good, as opposed to an outage. It
// matches [ErrNotFound], [ErrDisabled], [ErrSessionEnded], [ErrSuperseded] and
// [ErrRefreshReused].
func Refused(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrDisabled) || errors.Is(err, ErrSessionEnded) ||
		errors.Is(err, ErrSuperseded) || errors.Is(err, ErrRefreshReused)
}

// ExistsError means that another account already has the same name, e-mail or id.
type ExistsError struct {
	// Field is "name", "email" or "account_id".
	Field string
}

func (e *ExistsError) Error() string { return "store: another account has this " + e.Field }

// Is makes the error match [ErrExists].
func (e *ExistsError) Is(target error) bool { return target == ErrExists }

// InvalidError means that a value cannot be stored. Its text does not repeat the
// value.
type InvalidError struct {
	// Field is "name", "email", "phone", "password" or "group", or "after" or "limit" of a
	// listing.
	Field string
	// Reason says what the value must look like.
	Reason string
}

func (e *InvalidError) Error() string { return "store: invalid " + e.Field + ": " + e.Reason }

// Is makes the error match [ErrInvalid].
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// CredentialsError means that a login failed. Its text is always that of
// [ErrCredentials], so that a client learns no more. The fields are for the log.
type CredentialsError struct {
	// AccountID is the account that the login was for, or NilID if no account has
	// the name.
	AccountID ID
	// Err is set if even the right password could not help, for example ErrDisabled or
	// password.ErrHash. It is nil if the name is unknown or the password is wrong.
	Err error
}

func (e *CredentialsError) Error() string { return ErrCredentials.Error() }

// Is makes the error match [ErrCredentials].
func (e *CredentialsError) Is(target error) bool { return target == ErrCredentials }

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnavailable, what, err)
}
