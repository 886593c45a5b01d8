package store

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"
)

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

// beginLogin decides whether a login may check its password, and reserves it. The error
// is a *ThrottledError or an outage. If there is no error, the caller must call failed,
// succeeded or abandoned.
func (a *Accounts) beginLogin(ctx context.Context, username, address string) (_ *loginAttempt, err error) {
	l := &loginAttempt{counts: a.attempts, rules: &a.throttle}
	l.setKeys(username, address)
	// Reserve before reading. A login that writes its failure after the read was still
	// under way at the reservation, and is among the others there.
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

// setKeys makes the keys to count by. A username that no account can have is counted by
// its address alone.
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

// networkOf returns what counts as one client address: an IPv4 address, or the /64
// network of an IPv6 address. It returns nothing for text that is no address.
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

// checkAddress limits the failures in an hour. The hour begins with the first failure.
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

// checkName lets the free failures through. After them it lets one attempt through at a
// time, with a wait between two.
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

// failed counts the login. If it returns an error, the login was not counted. The answer
// must then not say that the password was wrong, else the guess was free.
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

// hardCapKeep stands for ever.
const hardCapKeep = 100 * 365 * 24 * time.Hour

// succeeded remembers that the name has logged in from this address. It writes at most
// once a day, unless there are failures to forget. A write that fails is no reason to
// refuse the login.
func (l *loginAttempt) succeeded(ctx context.Context) {
	defer l.abandoned()
	now := l.counts.clock()
	if l.pair == "" || l.pairTally.failures == 0 && !l.pairTally.mark.IsZero() && elapsed(l.pairTally.mark, now) < pairWrite {
		return
	}
	_ = l.counts.write(ctx, l.pair, rememberPair, func(t *tally) { *t = tally{mark: now} })
}

// abandoned gives up the reservation. The outcome of the login is not known.
func (l *loginAttempt) abandoned() {
	for _, key := range l.reserved {
		l.counts.release(key)
	}
	l.reserved = nil
}
