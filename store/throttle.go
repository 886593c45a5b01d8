package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
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
// The counts are in the backend, so that all
// processes share them. Several processes together may let through as many guesses
// more as they check at the same moment.
type Throttle struct {
	// FreeFailures is how many logins of a name may fail without a wait. The default
	// is 10; a negative number sets no limit for names.
	FreeFailures int
	// FirstWait and MaxWait are the wait after the first failure that is not free,
	// and the longest. The defaults are 1 second and 15 minutes.
	FirstWait, MaxWait time.Duration
	// HardCap, if set, blocks a name after so many failures in a row, until
	// [Accounts.Unblock]. The default is 0, no cap: it would let anyone lock out
	// anyone. NIST SP 800-63B-4 asks for a cap of at most 100.
	HardCap int

	// AddressFailures is how many logins from a client address may fail in an hour.
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
	pairWrite      = 24 * time.Hour // a success is written at most so often
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
		problems = append(problems, "Throttle.FirstWait must not be negative, and MaxWait not shorter")
	}
	if t.HardCap < 0 {
		problems = append(problems, "Throttle.HardCap must not be negative")
	}
	return problems
}

// ThrottledError says that too many logins have failed. Whether the password was right
// is not known.
type ThrottledError struct {
	// RetryAfter is how long to wait.
	RetryAfter time.Duration
}

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("store: too many failed logins: wait %v", e.RetryAfter)
}

// Is makes the error match ErrThrottled.
func (e *ThrottledError) Is(target error) bool { return target == ErrThrottled }

// loginAttempt is one login under way, as the throttle sees it.
type loginAttempt struct {
	counts *attempts
	rules  *Throttle

	name, pair, address string // keys, empty where there is nothing to count
	counted             string // the one of name and pair that counts this login
	pairTally           tally
	reserved            []string
}

var errShare = errors.New("too many logins from this address are under way")

// beginLogin looks whether a login may go on to the password, and reserves it. The
// error is a *ThrottledError, or an outage. Without an error the caller must call one
// of failed, succeeded and abandoned.
func (a *Accounts) beginLogin(ctx context.Context, username, address string) (_ *loginAttempt, err error) {
	l := &loginAttempt{counts: a.attempts, rules: &a.throttle}
	l.setKeys(username, address)
	// Reserve before reading: whoever writes a failure after the read was still under
	// way at the reservation, and is counted there.
	othersOfName, othersOfPair, othersOfAddress := l.reserve(l.name), l.reserve(l.pair), l.reserve(l.address)
	defer func() {
		if err != nil {
			l.abandoned()
		}
	}()
	if l.address != "" {
		if limit := l.rules.AddressPending; limit > 0 && othersOfAddress >= limit {
			return nil, unavailable("logging in", errShare)
		}
		t, err := l.counts.read(ctx, l.address)
		if err != nil {
			return nil, err
		}
		if err := l.checkAddress(t, othersOfAddress); err != nil {
			return nil, err
		}
	}
	if l.name == "" {
		return l, nil
	}
	t, err := l.counts.read(ctx, l.name)
	if err != nil {
		return nil, err
	}
	l.counted = l.name
	others := othersOfName
	if l.pair != "" {
		if l.pairTally, err = l.counts.read(ctx, l.pair); err != nil {
			return nil, err
		}
		if !l.pairTally.mark.IsZero() { // it has logged in from here before
			unblocked := t.mark
			l.counted, t, others = l.pair, l.pairTally, othersOfPair
			if !t.last.After(unblocked) {
				t.failures = 0
			}
		}
	}
	return l, l.checkName(t, others)
}

// setKeys: what nobody can be called is not counted by name.
func (l *loginAttempt) setKeys(username, address string) {
	network := networkOf(address)
	if network != "" && (l.rules.AddressFailures > 0 || l.rules.AddressPending > 0) {
		l.address = attemptKey("address", network)
	}
	if l.rules.FreeFailures < 0 {
		return
	}
	prepare, kind := PrepareName, "name"
	if strings.Contains(username, "@") {
		prepare, kind = PrepareEmail, "email"
	}
	prepared, err := prepare(username)
	if err != nil {
		return
	}
	l.name = nameKey(kind, prepared)
	if network != "" {
		l.pair = attemptKey("pair", kind, prepared, network)
	}
}

func nameKey(kind, prepared string) string { return attemptKey(kind, prepared) }

// networkOf is what counts as one client address: an IPv4 address, or the /64 network
// of an IPv6 address. It is empty for what is no address.
func networkOf(address string) string {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	parsed = parsed.Unmap().WithZone("")
	if parsed.Is4() {
		return parsed.String()
	}
	prefix, err := parsed.Prefix(64)
	if err != nil {
		return ""
	}
	return prefix.String()
}

func (l *loginAttempt) reserve(key string) (others int) {
	if key == "" {
		return 0
	}
	l.reserved = append(l.reserved, key)
	return l.counts.reserve(key)
}

// checkAddress: the failures of an hour, which begins with the first.
func (l *loginAttempt) checkAddress(t tally, others int) error {
	if elapsed(t.mark, l.counts.clock()) >= addressWindow {
		t.failures = 0
	}
	if l.rules.AddressFailures < 0 || t.failures+int64(others) < int64(l.rules.AddressFailures) {
		return nil
	}
	if t.failures == 0 {
		return &ThrottledError{time.Second} // others are under way
	}
	return &ThrottledError{max(time.Second, t.mark.Add(addressWindow).Sub(l.counts.clock()))}
}

// checkName: free failures first, then one attempt at a time with a wait between two.
func (l *loginAttempt) checkName(t tally, others int) error {
	free := int64(l.rules.FreeFailures)
	if l.rules.forgets(t, l.counts.clock()) {
		t.failures = 0
	}
	switch wait := l.rules.wait(t.failures); {
	case l.rules.HardCap > 0 && t.failures+int64(others) >= int64(l.rules.HardCap):
		return &ThrottledError{l.rules.MaxWait}
	case t.failures+int64(others) < free:
		return nil
	case others > 0:
		return &ThrottledError{max(wait, l.rules.FirstWait)}
	default:
		// A clock that went back makes nobody wait longer than the rule says.
		if left := wait - elapsed(t.last, l.counts.clock()); left > 0 {
			return &ThrottledError{left}
		}
	}
	return nil
}

// wait is the wait after so many failures.
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

// forgets reports whether failures are so old that they do not count. Under a hard cap
// none are.
func (t *Throttle) forgets(of tally, now time.Time) bool {
	return t.HardCap == 0 && elapsed(of.last, now) >= forgetFailures
}

// failed counts the login. An error means that it could not be counted: the answer
// must then not say that the password was wrong, or guesses would be free.
func (l *loginAttempt) failed(ctx context.Context) error {
	defer l.abandoned()
	now := l.counts.clock()
	var problems []error
	if l.counted != "" {
		keep := forgetFailures
		if l.counted == l.pair {
			keep = rememberPair
		}
		if l.rules.HardCap > 0 {
			keep = hardCapKeep
		}
		problems = append(problems, l.counts.write(ctx, l.counted, keep, func(t *tally) {
			if l.rules.forgets(*t, now) {
				t.failures = 0
			}
			t.failures++
			t.last = now
		}))
	}
	if l.address != "" && l.rules.AddressFailures > 0 {
		problems = append(problems, l.counts.write(ctx, l.address, addressWindow, func(t *tally) {
			if elapsed(t.mark, now) >= addressWindow {
				t.failures = 0
			}
			if t.failures == 0 {
				t.mark = now
			}
			t.failures++
			t.last = now
		}))
	}
	return errors.Join(problems...)
}

// hardCapKeep is as good as for ever.
const hardCapKeep = 100 * 365 * 24 * time.Hour

// succeeded notes that the name has logged in from this address, at most daily unless
// there are failures to forget. What cannot be noted is no reason to refuse.
func (l *loginAttempt) succeeded(ctx context.Context) {
	defer l.abandoned()
	now := l.counts.clock()
	if l.pair == "" || l.pairTally.failures == 0 && !l.pairTally.mark.IsZero() && elapsed(l.pairTally.mark, now) < pairWrite {
		return
	}
	_ = l.counts.write(ctx, l.pair, rememberPair, func(t *tally) { *t = tally{mark: now} })
}

// abandoned gives up what was reserved: nobody knows what the outcome would have been.
func (l *loginAttempt) abandoned() {
	for _, key := range l.reserved {
		l.counts.release(key)
	}
	l.reserved = nil
}

// Unblock forgets the failed logins of an account, by its name and by its e-mail. Those
// of client addresses stay. It is for support: the user who is locked out can try again
// at once.
func (a *Accounts) Unblock(ctx context.Context, id ID) error {
	account, err := a.backend.FindByID(ctx, id)
	if err != nil {
		return err
	}
	now := a.now()
	forget := func(t *tally) { *t = tally{mark: now} }
	return errors.Join(
		a.attempts.write(ctx, nameKey("name", account.Name), rememberPair, forget),
		a.attempts.write(ctx, nameKey("email", account.EmailKey), rememberPair, forget))
}
