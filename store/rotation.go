package store

import (
	"cmp"
	"context"
	"time"
)

// RefreshSession refreshes a session for a genuine refresh token. What it does depends on
// the generation of the token:
//
//   - It is the current generation. The session moves on to the next generation.
//   - It is the generation that was presented at the last rotation, and the current
//     generation was issued at most Config.ReuseInterval ago. For example, two browser
//     tabs refresh at once. Nothing is written. The result holds the current generation,
//     and Replayed is set.
//   - It is the generation that was presented at the last rotation, more time has passed,
//     and nobody has used the current generation. So the reply with the current
//     generation was lost. Up to Config.LostReplyWindow after the last rotation, the
//     session moves on to a generation that replaces the lost one, and Recovered is set.
//   - In all other cases two parties seem to hold the token, and one of them may be a
//     thief. The session ends, and the error is [ErrRefreshReused].
//
// Other errors are [ErrNotFound], [ErrDisabled] and [ErrSessionEnded].
//
// If any number of calls present one token at once, exactly one of them moves the
// session on.
func (a *Accounts) RefreshSession(ctx context.Context, ref SessionRef, lifetimes Lifetimes) (*SessionState, error) {
	now := a.now()
	rotationID := newRotationID()
	rules := a.rotation
	if a.windowIsTTL {
		rules.lostReplyWindow = cmp.Or(lifetimes.Refresh, rules.lostReplyWindow)
	}
	state := new(SessionState)
	var done verdict // about the record as it was read last
	err := a.backend.Update(ctx, ref.AccountID, func(account *Account) error {
		*state = SessionState{Account: account}
		session := account.session(ref.SessionID, now)
		switch {
		case account.Disabled:
			return ErrDisabled
		case session == nil && done == reuse:
			return ErrUnchanged // done already: the reply to the write was lost
		case session == nil:
			return ErrSessionEnded
		case session.RotationID == rotationID: // done already: the reply to the write was lost
			state.Session, state.Recovered = *session, done == again
			return ErrUnchanged
		}
		switch done = rules.judge(session, ref.Generation, now); done {
		case replay:
			state.Session, state.Replayed = *session, true
			return ErrUnchanged
		case reuse:
			account.removeSessions(func(s *Session) bool { return s.ID == ref.SessionID })
			return nil
		case rotate:
			session.rotate(rotationID, now)
			session.Expires = a.expiry(session, lifetimes)
		case again:
			session.again(rotationID, now)
		}
		account.LastAction = now
		state.Session, state.Recovered = *session, done == again
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case done == reuse:
		return nil, ErrRefreshReused
	}
	return state, nil
}

// rotation is the part of Config that decides about refresh tokens.
type rotation struct {
	reuseInterval   time.Duration // 0 or less is strict
	lostReplyWindow time.Duration // 0 or less is off
}

// verdict is what happens to a session whose refresh token was presented.
type verdict int

const (
	_      verdict = iota
	rotate         // move on to the next generation
	again          // replace the current generation, whose reply was lost
	replay         // give out the current generation once more
	reuse          // end the session
)

// judge applies the rules that RefreshSession documents.
func (r rotation) judge(session *Session, generation int64, now time.Time) verdict {
	switch {
	case generation == session.Generation:
		return rotate
	case generation < 1 || generation != session.Proven():
		return reuse
	case r.reuseInterval > 0 && elapsed(session.Issued(), now) <= r.reuseInterval:
		return replay
	case !session.Used && r.lostReplyWindow > 0 && elapsed(session.Rotated, now) <= r.lostReplyWindow:
		return again
	}
	return reuse
}

// elapsed returns the time since a moment, or 0 if the clock went back.
func elapsed(since, now time.Time) time.Duration { return max(0, now.Sub(since)) }

// rotate moves on from the current generation, whose token was presented.
func (s *Session) rotate(rotationID int64, now time.Time) {
	s.Rotated = later(s.Issued(), now)
	s.LostReplies, s.RecoveredAt = 0, time.Time{}
	s.next(rotationID)
}

// again replaces the current generation, whose reply was lost. Rotated and Expires stay
// as they are. If they moved, a caller who tries every 50 seconds could keep a window of
// one minute open for ever.
func (s *Session) again(rotationID int64, now time.Time) {
	s.RecoveredAt = later(s.Issued(), now)
	s.LostReplies++
	s.next(rotationID)
}

func (s *Session) next(rotationID int64) {
	s.Generation++
	s.RotationID = rotationID
	s.Used = false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// superseded reports whether a generation was issued and then replaced, because its reply
// seemed lost. An honest client holds no token of it.
func (s *Session) superseded(generation int64) bool {
	return s.Proven() < generation && generation < s.Generation
}

// expiry returns when a session ends: the refresh TTL after its last rotation, or the
// session TTL after its login if that is earlier. Tokens count whole seconds, so it does.
func (a *Accounts) expiry(session *Session, lifetimes Lifetimes) time.Time {
	expires := session.Rotated.Add(cmp.Or(lifetimes.Refresh, a.refreshTTL))
	if sessionTTL := cmp.Or(lifetimes.Session, a.sessionTTL); sessionTTL > 0 {
		if end := session.Created.Add(sessionTTL); end.Before(expires) {
			expires = end
		}
	}
	return expires.Truncate(time.Second)
}
