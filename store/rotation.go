package store

import (
	"cmp"
	"context"
	"time"
)

// RefreshSession answers for a genuine refresh token. The generation it names
// decides:
//
//   - the current one: the session moves on to the next generation;
//   - the one before, up to Config.ReuseInterval after the rotation: two tabs at
//     once. The current generation is given out again, nothing is written;
//   - the one before, later, while the current generation was never used: its
//     reply was lost. The same, up to Config.LostReplyWindow;
//   - anything else: somebody else has the token too. The session is ended and
//     the error is [ErrRefreshReused].
//
// Other errors are [ErrNotFound], [ErrDisabled] and [ErrSessionEnded].
//
// Of any number of calls at once with one token exactly one moves the session on.
// A call whose write was done and whose reply was lost finds its RotationID when
// it looks again, and answers as if the reply had come.
func (a *Accounts) RefreshSession(ctx context.Context, ref SessionRef, lifetimes Lifetimes) (*SessionState, error) {
	now := a.now()
	rotationID := newRotationID()
	state := new(SessionState)
	reused := false
	err := a.backend.Update(ctx, ref.AccountID, func(account *Account) error {
		*state = SessionState{Account: account}
		session := account.session(ref.SessionID, now)
		switch {
		case account.Disabled:
			return ErrDisabled
		case session == nil && reused:
			return ErrUnchanged // a write whose reply was lost
		case session == nil:
			return ErrSessionEnded
		case session.RotationID == rotationID:
			state.Session = *session
			return ErrUnchanged // a write whose reply was lost
		}
		switch a.judge(session, ref.Generation, now) {
		case rotate:
			a.rotate(session, rotationID, now, lifetimes)
			account.LastAction = now
			state.Session = *session
			return nil
		case replay:
			state.Session, state.Replayed = *session, true
			return ErrUnchanged
		default:
			reused = true
			account.removeSessions(func(s *Session) bool { return s.ID == ref.SessionID })
			return nil
		}
	})
	switch {
	case err != nil:
		return nil, err
	case reused && state.Session.ID == "":
		return nil, ErrRefreshReused
	}
	return state, nil
}

// verdict is what is done about a refresh token.
type verdict int

const (
	rotate verdict = iota
	replay
	reuse
)

// judge is the table of rotation.
func (a *Accounts) judge(session *Session, generation int64, now time.Time) verdict {
	elapsed := max(0, now.Sub(session.Rotated)) // a clock that went back: no time
	switch {
	case generation == session.Generation:
		return rotate
	case generation != session.Generation-1:
		return reuse
	case a.reuseInterval > 0 && elapsed <= a.reuseInterval:
		return replay
	case !session.Used && a.lostReplyWindow > 0 && elapsed <= a.lostReplyWindow:
		return replay
	}
	return reuse
}

func (a *Accounts) rotate(session *Session, rotationID int64, now time.Time, lifetimes Lifetimes) {
	session.Generation++
	session.RotationID = rotationID
	session.Used = false
	if now.After(session.Rotated) {
		session.Rotated = now
	}
	session.Expires = a.expiry(session, lifetimes)
}

// expiry is the earlier of what slides with each rotation and what does not, in
// whole seconds as tokens count.
func (a *Accounts) expiry(session *Session, lifetimes Lifetimes) time.Time {
	expires := session.Rotated.Add(cmp.Or(lifetimes.Refresh, a.refreshTTL))
	if sessionTTL := cmp.Or(lifetimes.Session, a.sessionTTL); sessionTTL > 0 {
		if end := session.Created.Add(sessionTTL); end.Before(expires) {
			expires = end
		}
	}
	return expires.Truncate(time.Second)
}
