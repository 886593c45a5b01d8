package store

import (
	"context"
	"time"
)

// Mailer sends the mails of [Accounts]. *mail.Queue of package store/mail is the usual
// one. Implementations are safe for concurrent use.
type Mailer interface {
	// Enqueue takes the work of one mail off the request and returns at once. Some time
	// later it calls prepare on another goroutine, and sends the mail that prepare
	// returns. If that is nil, there is nothing to send.
	//
	// If prepare returns an error that matches [ErrUnavailable], the Mailer calls it
	// again later. Any other error is final.
	//
	// Enqueue returns an error if it has no room, or if it is closed. Then it never
	// calls prepare.
	Enqueue(prepare func(ctx context.Context) (*Mail, error)) error
}

// MailKind says what a mail is about.
type MailKind string

// The kinds of mail.
const (
	// MailRegistration brings the code that makes an account.
	MailRegistration MailKind = "registration"
	// MailAddressInUse goes to the owner of an address that somebody gave for a new
	// account, or as the new address of another one.
	MailAddressInUse MailKind = "address_in_use"
	// MailPasswordReset brings the code that sets a new password.
	MailPasswordReset MailKind = "password_reset"
	// MailEmailChange brings the code that makes the address that of the account.
	MailEmailChange MailKind = "email_change"
	// MailEmailChanged tells the old address of the new one.
	MailEmailChanged MailKind = "email_changed"
	// MailPasswordChanged tells the owner that the account has a new password.
	MailPasswordChanged MailKind = "password_changed"
	// MailNewLogin tells the owner of a login from a client and network that no live
	// session of the account has.
	MailNewLogin MailKind = "new_login"
)

// MailKinds returns all kinds of mail.
func MailKinds() []MailKind {
	return []MailKind{
		MailRegistration, MailAddressInUse, MailPasswordReset, MailEmailChange,
		MailEmailChanged, MailPasswordChanged, MailNewLogin,
	}
}

// Mail is what a mail says. Its texts come from requests: whoever makes a message of
// them cuts and cleans them first.
type Mail struct {
	Kind MailKind
	// To is the address that the mail goes to.
	To string
	// Account is the name of the account.
	Account string
	// Time is when it happened.
	Time time.Time
	// Code is what the user must type, and Expires is when it ends. They are set in
	// MailRegistration, MailPasswordReset and MailEmailChange.
	Code    string
	Expires time.Time
	// NewEmail is the new address in MailEmailChange and MailEmailChanged.
	NewEmail string
	// Address, ClientID and UserAgent tell where the request came from. They may be
	// empty.
	Address, ClientID, UserAgent string
}
