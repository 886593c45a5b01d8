package store

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// loginAttempt is one login under way, as the throttle sees it.
type loginAttempt struct {
	counts *attempts
	rules  *Throttle

	name, pair, address string // keys, empty where there is nothing to count
	counted             string // the one of name and pair that counts this login
	nameTally           tally
	pairTally           tally
	reserved            []string
}

var (
	errShare  = errors.New("too many logins from this address are under way")
	errOthers = errors.New("too many logins of this name are under way")
)

// waitForOthers is how long a login waits for others of the same name. They may all have
// the right password: a service with many workers, for example.
const waitForOthers = 10 * time.Second

// beginLogin decides whether a login may check its password, and reserves it. The error
// is a *ThrottledError or an outage. If there is no error, the caller must call release,
// after end if the outcome is known.
func (a *Accounts) beginLogin(ctx context.Context, username, address string) (*loginAttempt, error) {
	l := &loginAttempt{counts: a.attempts, rules: &a.throttle}
	l.setKeys(username, address)
	return l, l.begin(ctx)
}

// beginCheck is beginLogin for the current password of an account that is known.
func (a *Accounts) beginCheck(ctx context.Context, id ID) (*loginAttempt, error) {
	l := &loginAttempt{counts: a.attempts, rules: &a.throttle}
	if a.throttle.FreeFailures > 0 {
		l.name = attemptKey("account", id.Hex())
	}
	return l, l.begin(ctx)
}

func (l *loginAttempt) begin(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			l.release()
		}
	}()
	if err := l.counts.checkWritable(ctx); err != nil {
		return err
	}
	if err := l.beginAddress(ctx); err != nil || l.name == "" {
		return err
	}
	err = l.beginName(ctx)
	if errors.Is(err, errOthers) {
		err = l.waitForTurn(ctx)
	}
	return err
}

// waitForTurn begins again each time another login of the name has ended.
func (l *loginAttempt) waitForTurn(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, waitForOthers, errOthers)
	defer cancel()
	for {
		select {
		case <-l.giveWay():
			if err := l.beginName(ctx); !errors.Is(err, errOthers) {
				return err
			}
		case <-ctx.Done():
			return unavailable("logging in", context.Cause(ctx))
		}
	}
}

func (l *loginAttempt) beginAddress(ctx context.Context) error {
	if l.address == "" {
		return nil
	}
	others := l.reserve(l.address)
	if limit := l.rules.AddressPending; limit > 0 && others >= limit {
		return unavailable("logging in", errShare)
	}
	t, err := l.counts.read(ctx, l.address)
	if err != nil {
		return err
	}
	return l.checkAddress(t, others)
}

func (l *loginAttempt) beginName(ctx context.Context) (err error) {
	// Reserve before reading. A login that writes its failure after the read was still
	// under way at the reservation, and is among the others there.
	others, othersOfPair := l.reserve(l.name), l.reserve(l.pair)
	if l.nameTally, err = l.counts.read(ctx, l.name); err != nil {
		return err
	}
	t := l.nameTally
	l.counted = l.name
	if l.pair != "" {
		if l.pairTally, err = l.counts.read(ctx, l.pair); err != nil {
			return err
		}
		if !l.pairTally.mark.IsZero() { // it has logged in from here before
			l.counted, t, others = l.pair, l.pairTally, othersOfPair
			l.forgetUnblocked(&t)
		}
	}
	return l.checkName(t, others)
}

// forgetUnblocked forgets the failures of a pair that happened before Unblock.
func (l *loginAttempt) forgetUnblocked(t *tally) {
	if !t.last.After(l.nameTally.mark) {
		t.failures = 0
	}
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
	parsed = parsed.Unmap()
	if parsed.Is4() {
		return parsed.String()
	}
	prefix, err := parsed.Prefix(64) // without a zone
	if err != nil {
		return ""
	}
	return prefix.String()
}

// giveWay takes back the reservations of name and pair, so that other logins can end.
func (l *loginAttempt) giveWay() (ended <-chan struct{}) {
	for _, key := range []string{l.name, l.pair} {
		if key == "" {
			continue
		}
		if at := l.counts.giveWay(key); key == l.counted {
			ended = at
		}
		l.reserved = slices.DeleteFunc(l.reserved, func(k string) bool { return k == key })
	}
	return ended
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
	now := l.counts.clock()
	if t.isOver(addressWindow, now) {
		t = tally{}
	}
	if l.rules.AddressFailures < 0 || t.failures+int64(others) < int64(l.rules.AddressFailures) {
		return nil
	}
	return t.throttled(addressWindow, now)
}

// checkName lets the free failures through. After them it lets one attempt through at a
// time, with a wait between two. It returns errOthers if nothing but the logins under way
// is in the way.
func (l *loginAttempt) checkName(t tally, others int) error {
	now := l.counts.clock()
	if l.rules.forgets(t, now) {
		t.failures = 0
	}
	free, limit := int64(l.rules.FreeFailures), int64(l.rules.HardCap)
	switch left := l.rules.left(t, now); {
	case limit > 0 && t.failures >= limit:
		return &ThrottledError{RetryAfter: l.rules.MaxWait}
	case left > 0:
		return &ThrottledError{RetryAfter: left}
	case limit > 0 && t.failures+int64(others) >= limit, t.failures < free && t.failures+int64(others) >= free:
		return errOthers
	case t.failures >= free && others > 0:
		return &ThrottledError{RetryAfter: l.rules.FirstWait}
	}
	return nil
}

// end counts the outcome of a login, and returns its error. If a failure could not be
// counted, it returns that error instead.
func (l *loginAttempt) end(ctx context.Context, err error) error {
	switch {
	case err == nil:
		l.succeeded(ctx)
	case errors.Is(err, ErrCredentials):
		if uncounted := l.failed(ctx); uncounted != nil {
			return uncounted
		}
	}
	return err
}

// failed counts the login. If it returns an error, the login was not counted. The answer
// must then not say that the password was wrong, else the guess was free.
func (l *loginAttempt) failed(ctx context.Context) error {
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
			if l.counted == l.pair {
				l.forgetUnblocked(t)
			}
			t.failures++
			t.last = now
		}))
	}
	if l.address != "" && l.rules.AddressFailures > 0 {
		problems = append(problems, l.counts.write(ctx, l.address, addressWindow, func(t *tally) {
			if t.isOver(addressWindow, now) {
				*t = tally{mark: now}
			}
			t.failures++
		}))
	}
	return errors.Join(problems...)
}

// succeeded remembers that the name has logged in from this address. It writes at most
// once a day, unless there are failures to forget. A write that fails is no reason to
// refuse the login.
func (l *loginAttempt) succeeded(ctx context.Context) {
	now := l.counts.clock()
	// The failures of a name outlive a success elsewhere: a guesser must not gain by it.
	// They end where the name alone is counted, and where a hard cap counts in a row.
	if l.counted != "" && l.counted == l.name && l.nameTally.failures > 0 && (l.pair == "" || l.rules.HardCap > 0) {
		_ = l.counts.write(ctx, l.name, rememberPair, func(t *tally) { *t = tally{mark: t.mark} })
	}
	if l.pair == "" || l.pairTally.failures == 0 && !l.pairTally.mark.IsZero() && elapsed(l.pairTally.mark, now) < pairWrite {
		return
	}
	_ = l.counts.write(ctx, l.pair, rememberPair, func(t *tally) { *t = tally{mark: now} })
}

// release gives up the reservation.
func (l *loginAttempt) release() {
	for _, key := range l.reserved {
		l.counts.release(key)
	}
	l.reserved = nil
}
