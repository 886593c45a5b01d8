package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Throttle slows down the guessing of passwords. It counts failed logins for each
// name that is tried, whether an account has it or not, and for each client address.
//
// With the defaults a name has 10 free failures. Then each failure doubles the wait,
// from 1 second to 15 minutes. That is about 115 guesses on the first day and 96 on
// each day after it, or twice that if name and e-mail are both tried. A client that
// tries both ways of client authentication, as golang.org/x/oauth2 does, sends each
// wrong password twice.
//
// A user is not locked out by what others guess elsewhere: an address from which a
// name has logged in before has a count of its own for that name.
//
// The counts are in the backend, so that all processes share them. Several processes
// together may let a few more guesses through: those that they check at the same moment.
type Throttle struct {
	// FreeFailures is how many logins of a name may fail without a wait. The default
	// is 10; a negative number sets no limit for names.
	FreeFailures int
	// FirstWait and MaxWait are the wait after the first failure that is not free,
	// and the longest. The defaults are 1 second and 15 minutes.
	FirstWait, MaxWait time.Duration
	// HardCap, if set, blocks a name after so many failures in a row, until
	// [Accounts.Unblock]. It counts the name, the e-mail, and the name at each address
	// from which it has logged in, each by itself. The default is 0, no cap: it would
	// let anyone lock out anyone. NIST SP 800-63B-4 asks for a cap of at most 100.
	HardCap int

	// AddressFailures is how many logins from a client address may fail in an hour, which
	// begins with the first failure.
	// IPv6 addresses count by their /64 network. The default is 100; a negative number
	// sets no limit.
	AddressFailures int
	// AddressPending is how many logins from a client address may be under way in
	// this process at once, so that one address cannot fill the queue of the password
	// hasher. The default is 16; a negative number sets no limit.
	AddressPending int
}

const (
	forgetFailures = 24 * time.Hour // after the last one
	addressWindow  = time.Hour
	rememberPair   = 90 * 24 * time.Hour
	pairWrite      = 24 * time.Hour // between two writes of successes
	maxMaxWait     = 24 * time.Hour
	hardCapKeep    = 100 * 365 * 24 * time.Hour // stands for ever
)

func (t *Throttle) setDefaults() {
	t.FreeFailures = cmp.Or(t.FreeFailures, 10)
	t.FirstWait = cmp.Or(t.FirstWait, time.Second)
	t.MaxWait = cmp.Or(t.MaxWait, 15*time.Minute)
	t.AddressFailures = cmp.Or(t.AddressFailures, 100)
	t.AddressPending = cmp.Or(t.AddressPending, 16)
}

func (t *Throttle) problems() (problems []string) {
	if t.FirstWait < 0 || t.MaxWait < t.FirstWait {
		problems = append(problems, fmt.Sprintf("Throttle.FirstWait (%v) must not be negative, nor longer than Throttle.MaxWait (%v)", t.FirstWait, t.MaxWait))
	}
	if t.MaxWait > maxMaxWait {
		problems = append(problems, fmt.Sprintf("Throttle.MaxWait is %v: it must be at most %v", t.MaxWait, maxMaxWait))
	}
	if t.HardCap < 0 || t.HardCap > 0 && t.FreeFailures < 0 {
		problems = append(problems, fmt.Sprintf("Throttle.HardCap is %d with FreeFailures %d: neither may be negative where there is a cap, such as 100 with 10", t.HardCap, t.FreeFailures))
	}
	return problems
}

// ThrottledError says that there were too many attempts: logins that failed, or mails that
// were asked for. Whether a password was right is not known.
type ThrottledError struct {
	// RetryAfter is how long to wait.
	RetryAfter time.Duration
	// Mails reports whether too many mails were asked for. Otherwise too many logins, or
	// checks of the current password, have failed.
	Mails bool
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("store: too many attempts: wait %v", e.RetryAfter)
}

// Is makes the error match ErrThrottled.
func (e *ThrottledError) Is(target error) bool { return target == ErrThrottled }

// wait returns how long a name must wait after so many failures.
func (t *Throttle) wait(failures int64) time.Duration {
	over := failures - int64(t.FreeFailures)
	if over < 0 {
		return 0
	}
	wait := t.FirstWait
	for ; over > 0 && wait < t.MaxWait; over-- {
		wait *= 2
	}
	return min(wait, t.MaxWait)
}

// left returns how long a name must still wait. A last failure far in the future comes
// from a clock that was wrong, and nobody waits for it.
func (t *Throttle) left(of tally, now time.Time) time.Duration {
	if of.last.Sub(now) > t.MaxWait {
		return 0
	}
	return of.last.Add(t.wait(of.failures)).Sub(now)
}

// forgets reports whether the failures are too old to count. Under a hard cap they
// always count.
func (t *Throttle) forgets(of tally, now time.Time) bool {
	return t.HardCap == 0 && elapsed(of.last, now) >= forgetFailures
}

// Unblock forgets the failed logins of an account, by its name and by its e-mail. Use it
// to help a user who is locked out. The failures of client addresses still count.
func (a *Accounts) Unblock(ctx context.Context, id ID) error {
	account, err := a.backend.FindByID(ctx, id)
	if err != nil {
		return err
	}
	return a.forgetFailures(ctx, account)
}

// forgetFailures forgets the failed logins of an account.
func (a *Accounts) forgetFailures(ctx context.Context, account *Account) error {
	now := a.now()
	forget := func(t *tally) { *t = tally{mark: now} }
	keep := rememberPair
	if a.throttle.HardCap > 0 {
		keep = hardCapKeep
	}
	return errors.Join(
		a.attempts.write(ctx, nameKey("name", account.Name), keep, forget),
		a.attempts.write(ctx, nameKey("email", account.EmailKey), keep, forget),
		a.attempts.write(ctx, attemptKey("account", account.ID.Hex()), keep, forget))
}
