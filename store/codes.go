package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Codes configures the codes that mails bring: for a registration, a password reset and a
// change of e-mail. The zero value is good.
type Codes struct {
	// TTL is how long a code is good. The default is an hour, the minimum a minute, the
	// maximum a day.
	TTL time.Duration
	// MailsTo protects strangers from unwanted mail. It is how many mails with a code can
	// go to one address in an hour, which begins with the first. The default is 3.
	MailsTo int
	// MailsFrom is how many such mails one client address can ask for in an hour. IPv6
	// addresses count by their /64 network. The default is 20. Any negative number sets
	// no limit.
	MailsFrom int
}

const (
	maxCodeTTL = 24 * time.Hour
	codeWindow = time.Hour
)

func (c *Codes) setDefaults() {
	c.TTL = cmp.Or(c.TTL, time.Hour)
	c.MailsTo = cmp.Or(c.MailsTo, 3)
	c.MailsFrom = cmp.Or(c.MailsFrom, 20)
}

func (c *Codes) problems() (problems []string) {
	if c.TTL < time.Minute || c.TTL > maxCodeTTL {
		problems = append(problems, fmt.Sprintf("Codes.TTL is %v: it must be from 1m to %v, such as 1h", c.TTL, maxCodeTTL))
	}
	if c.MailsTo < 0 {
		problems = append(problems, fmt.Sprintf("Codes.MailsTo is %d: it must not be negative", c.MailsTo))
	}
	return problems
}

// pendingCode is what a code allows. It is kept in a record whose key is the hash of the
// code, so that whoever reads the database learns no code.
//
// The record only finds the way. The code is used up by the write to the account: that
// write checks and replaces the account's credentials version. So a code works once, and a
// new password or e-mail voids all codes of the account, without a second record. A
// registration has no account yet: its record says that it was used.
type pendingCode struct {
	AccountID ID `json:"account_id"`
	// Version is the credentials version that the account must have.
	Version int64 `json:"version,omitempty"`
	// Name, Email and Phone are those of a registration. Email is also the new address of
	// a change of e-mail.
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	Phone string `json:"phone,omitempty"`
	// Taken is the mark of the call that uses the code of a registration, or 0.
	Taken int64 `json:"taken,omitempty"`
}

// The kinds of codes. A code of one kind is unknown to the others.
const (
	codeRegistration  = "registration"
	codePasswordReset = "password_reset"
	codeEmailChange   = "email_change"
)

// crockford is Crockford's base32: it has no I, L, O and U.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

const codeLetters = 26 // 128 bits

// newCode returns a code of 128 random bits, in groups that people can type.
func newCode() string {
	var random [16]byte
	rand.Read(random[:]) // never fails
	letters := crockford.EncodeToString(random[:])
	return strings.Join([]string{letters[:5], letters[5:10], letters[10:15], letters[15:20], letters[20:]}, "-")
}

// readCode returns the letters of a code as newCode writes them. Users may type lower case,
// leave out hyphens, and mistake letters that look alike.
func readCode(typed string) (letters string, err error) {
	if len(typed) > 4*codeLetters {
		return "", ErrCode
	}
	letters = strings.Map(func(r rune) rune {
		switch r {
		case '-', ' ', '\t', '\r', '\n':
			return -1
		case 'O', 'o':
			return '0'
		case 'I', 'i', 'L', 'l':
			return '1'
		}
		return r
	}, typed)
	letters = strings.ToUpper(letters)
	if len(letters) != codeLetters {
		return "", ErrCode
	}
	return letters, nil
}

// updateCode changes the record of a code. It returns an error of change as it is, except
// for ErrUnchanged.
func (a *Accounts) updateCode(ctx context.Context, kind, code string, change func(*Record) error) error {
	letters, err := readCode(code)
	if err != nil {
		return err
	}
	return a.backend.UpdateRecord(ctx, "code:"+attemptKey(kind, letters), a.now(), change)
}

// newCode keeps what a new code allows, and returns the code.
func (a *Accounts) newCode(ctx context.Context, kind string, allows pendingCode) (code string, expires time.Time, err error) {
	value, err := json.Marshal(allows)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("store: encoding what a code allows: %w", err)
	}
	code = newCode()
	expires = a.now().Add(a.codes.TTL)
	err = a.updateCode(ctx, kind, code, func(r *Record) error {
		r.Value, r.Expires = value, expires
		return nil
	})
	if err != nil {
		return "", time.Time{}, unavailable("keeping a code", err)
	}
	return code, expires, nil
}

// lookAtCode returns what a code allows, and does not use it up.
func (a *Accounts) lookAtCode(ctx context.Context, kind, code string) (allows pendingCode, err error) {
	err = a.changeCode(ctx, kind, code, func(found *pendingCode) error {
		allows = *found
		return errOnlyLooking
	})
	switch {
	case !errors.Is(err, errOnlyLooking):
		return pendingCode{}, err
	case allows.Taken != 0:
		return pendingCode{}, ErrCode
	}
	return allows, nil
}

// takeCode marks a code as used, and returns the mark. If several callers take a code, one
// of them gets it.
func (a *Accounts) takeCode(ctx context.Context, kind, code string) (mark int64, err error) {
	mark = newRotationID()
	return mark, a.changeCode(ctx, kind, code, func(allows *pendingCode) error {
		switch allows.Taken {
		case 0:
			allows.Taken = mark
			return nil
		case mark:
			return ErrUnchanged // done already: the reply to the write was lost
		}
		return ErrCode
	})
}

// giveCodeBack makes a code good again that was taken in vain. If that fails, the user asks
// for another code.
func (a *Accounts) giveCodeBack(ctx context.Context, kind, code string, mark int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	_ = a.changeCode(ctx, kind, code, func(allows *pendingCode) error {
		if allows.Taken != mark {
			return ErrUnchanged
		}
		allows.Taken = 0
		return nil
	})
}

// changeCode changes what a code allows. It returns ErrCode if the code is not known, and
// errOnlyLooking and ErrCode of change as they are. Any other error is an outage.
func (a *Accounts) changeCode(ctx context.Context, kind, code string, change func(*pendingCode) error) error {
	err := a.updateCode(ctx, kind, code, func(r *Record) error {
		if len(r.Value) == 0 {
			return ErrCode
		}
		var allows pendingCode
		if err := json.Unmarshal(r.Value, &allows); err != nil {
			return fmt.Errorf("reading what it allows: %w", err)
		}
		if err := change(&allows); err != nil {
			return err
		}
		value, err := json.Marshal(allows)
		r.Value = value
		return err
	})
	if err == nil || errors.Is(err, ErrCode) || errors.Is(err, errOnlyLooking) {
		return err
	}
	return unavailable("looking at a code", err)
}

// dropCode removes the record of a code that was used. It would expire by itself, so an
// error does not matter.
func (a *Accounts) dropCode(ctx context.Context, kind, code string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	_ = a.updateCode(ctx, kind, code, func(r *Record) error {
		r.Value = nil
		return nil
	})
}

// mailCode counts a mail with a code, and leaves the rest to the Mailer: prepare looks up
// the account and makes the code. It runs after the answer, so that neither the answer nor
// its time tells whether an address is known.
func (a *Accounts) mailCode(ctx context.Context, emailKey, clientAddress string, prepare func(ctx context.Context) (*Mail, error)) error {
	if a.mailer == nil {
		return ErrNoMailer
	}
	if network := networkOf(clientAddress); network != "" && a.codes.MailsFrom > 0 {
		if err := a.takeMail(ctx, attemptKey("from", network), a.codes.MailsFrom); err != nil {
			return err
		}
	}
	if err := a.takeMail(ctx, attemptKey("to", emailKey), a.codes.MailsTo); err != nil {
		return err
	}
	// A full queue does not show: known addresses fill it for longer than unknown ones. The
	// user asks again.
	a.enqueue(prepare)
	return nil
}

func (a *Accounts) takeMail(ctx context.Context, key string, limit int) error {
	err := a.mails.take(ctx, key, limit, codeWindow)
	var throttled *ThrottledError
	if errors.As(err, &throttled) {
		throttled.Mails = true
	}
	return err
}

// tell mails what has happened to an account.
func (a *Accounts) tell(mail Mail) {
	mail.Time = a.now()
	a.enqueue(func(context.Context) (*Mail, error) { return &mail, nil })
}

// enqueue leaves a mail to the Mailer, if there is one. Nothing fails or waits for a mail: the
// Mailer logs what it drops.
func (a *Accounts) enqueue(prepare func(ctx context.Context) (*Mail, error)) {
	if a.mailer != nil {
		_ = a.mailer.Enqueue(prepare)
	}
}
