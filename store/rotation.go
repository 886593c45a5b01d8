package store

import (
	"cmp"
	"context"
	"time"
)

// RefreshSession refreshes a session for a genuine refresh token. The generation
// that the token was made for decides:
//
//   - the current generation: the session moves on to the next one;
//   - the generation that was presented at the last rotation, up to
//     Config.ReuseInterval after the current one was issued (for example, two
//     browser tabs that refresh at once): the current generation is given out again
//     and nothing is written;
//   - the same, later, while nobody has used the current generation: its reply was
//     lost. The session moves on to a generation that replaces the lost one, up to
//     Config.LostReplyWindow after the last rotation;
//   - any other: two holders have the token. The session ends and the error is
//     [ErrRefreshReused].
//
// Other errors are [ErrNotFound], [ErrDisabled] and [ErrSessionEnded].
//
// Of any number of calls at once with one token exactly one moves the session on.
// A call whose write was done and whose reply was lost finds its own RotationID
// when it looks again, and answers as if the reply had come.
func (a *Accounts) RefreshSession(ctx context.Context, ref SessionRef, lifetimes Lifetimes) (*SessionState, error) {
	now := a.now()
	rotationID := newRotationID()
	state := new(SessionState)
	var done verdict // of the last look at the record
	err := a.backend.Update(ctx, ref.AccountID, func(account *Account) error {
		*state = SessionState{Account: account}
		session := account.session(ref.SessionID, now)
		switch {
		case account.Disabled:
			return ErrDisabled
		case session == nil && done == reuse:
			return ErrUnchanged // a write whose reply was lost
		case session == nil:
			return ErrSessionEnded
		case session.RotationID == rotationID: // a write whose reply was lost
			state.Session, state.Recovered = *session, done == again
			return ErrUnchanged
		}
		switch done = a.rotation.judge(session, ref.Generation, now); done {
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

// rotation is the part of the configuration that decides about refresh tokens.
type rotation struct {
	reuseInterval   time.Duration // 0 or less is strict
	lostReplyWindow time.Duration // 0 or less is off
}

// verdict is what is done about a refresh token.
type verdict int

const (
	_ verdict = iota
	rotate
	again
	replay
	reuse
)

// judge is the table of rotation.
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

// elapsed counts a clock that went back as no time.
func elapsed(since, now time.Time) time.Duration { return max(0, now.Sub(since)) }

// rotate makes the presented generation, which is the current one, the last proven.
func (s *Session) rotate(rotationID int64, now time.Time) {
	s.Rotated = later(s.Issued(), now)
	s.Recovered, s.RecoveredAt = 0, time.Time{}
	s.next(rotationID)
}

// again replaces the current generation, whose reply was lost. The time of the last
// rotation and the expiry stay: else a window of a minute would never close for a
// caller who asks every 50 seconds.
func (s *Session) again(rotationID int64, now time.Time) {
	s.RecoveredAt = later(s.Issued(), now)
	s.Recovered++
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

// superseded reports whether a generation was issued and then replaced, because its
// reply was presumed lost. Nobody who follows the rules holds a token of it.
func (s *Session) superseded(generation int64) bool {
	return s.Proven() < generation && generation < s.Generation
}

// expiry is the earlier of the end that slides with each rotation and the end that
// does not, in whole seconds as tokens count.
func (a *Accounts) expiry(session *Session, lifetimes Lifetimes) time.Time {
	expires := session.Rotated.Add(cmp.Or(lifetimes.Refresh, a.refreshTTL))
	if sessionTTL := cmp.Or(lifetimes.Session, a.sessionTTL); sessionTTL > 0 {
		if end := session.Created.Add(sessionTTL); end.Before(expires) {
			expires = end
		}
	}
	return expires.Truncate(time.Second)
}
