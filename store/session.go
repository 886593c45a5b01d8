package store

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// SessionRef names a session and one of its generations, as the claims of a token do.
type SessionRef struct {
	AccountID  ID
	SessionID  string
	Generation int64
}

// ParseSessionRef makes a SessionRef from the claims of a genuine token. If the subject
// is not the id of an account, it returns an error that matches [ErrNotFound].
func ParseSessionRef(subject, sessionID string, generation int64) (SessionRef, error) {
	id, err := ParseID(subject)
	if err != nil {
		return SessionRef{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return SessionRef{AccountID: id, SessionID: sessionID, Generation: generation}, nil
}

// NewSession describes the session that a login starts. Only ClientID is required: it
// is the client that logged in.
type NewSession struct {
	ClientID string
	// UserAgent and Address help users to recognize a login in a list of their
	// sessions.
	UserAgent string
	Address   string
	Lifetimes Lifetimes
}

// Lifetimes replace Config.RefreshTTL and Config.SessionTTL for one client. If one is 0,
// that of Config applies. Session can be [Off].
type Lifetimes struct {
	Refresh, Session time.Duration
}

// SessionState is a session at the moment of an operation, with its account.
type SessionState struct {
	Account *Account
	Session Session
	// Replayed reports whether the refresh token was used a moment before, for example
	// by another browser tab. The session was not changed.
	Replayed bool
	// Recovered reports whether the reply to an earlier refresh with this token was
	// lost. The session has a new generation in place of the lost one.
	Recovered bool
	// Evicted are the live sessions that were removed to make room for this one.
	Evicted []Session
	// Unfamiliar reports whether no live session of the account has the client and the
	// network of the new one.
	Unfamiliar bool
}

// StartSession adds a session to an account that the caller has read, for example with
// [Accounts.VerifyPassword]. It returns [ErrDisabled] or [ErrNotFound], and an error that
// matches [ErrCredentials] if the password was changed since that read. So a login with
// the old password cannot start a session after the change.
//
// StartSession removes expired sessions. If the account then still has
// Config.MaxSessions, it removes the one that was refreshed least recently.
func (a *Accounts) StartSession(ctx context.Context, account *Account, start NewSession) (*SessionState, error) {
	return a.startSession(ctx, account.ID, start, func(current *Account) error {
		if current.PasswordHash != account.PasswordHash {
			return &CredentialsError{AccountID: current.ID, Err: errHashReplaced}
		}
		return nil
	})
}

// IssueSession does what [Accounts.StartSession] does, for an account that has proven no
// password. The caller is responsible for who gets the session.
func (a *Accounts) IssueSession(ctx context.Context, id ID, start NewSession) (*SessionState, error) {
	return a.startSession(ctx, id, start, func(*Account) error { return nil })
}

func (a *Accounts) startSession(ctx context.Context, id ID, start NewSession, admit func(current *Account) error) (*SessionState, error) {
	session := a.newSession(start)
	now := session.Created
	state := &SessionState{Session: session}
	err := a.backend.Update(ctx, id, func(current *Account) error {
		state.Account = current
		if current.session(session.ID, now) != nil {
			return ErrUnchanged // done already: the reply to the write was lost
		}
		if current.Disabled {
			return ErrDisabled
		}
		if err := admit(current); err != nil {
			return err
		}
		state.Unfamiliar = !current.knowsOrigin(&session)
		state.Evicted = current.makeRoom(a.maxSessions, now)
		current.Sessions = append(current.Sessions, session)
		current.LastAction = now
		return nil
	})
	if err != nil {
		return nil, err
	}
	return state, nil
}

// newSession makes a session that starts now.
func (a *Accounts) newSession(start NewSession) Session {
	now := a.now()
	session := Session{
		ID:         newSessionID(),
		ClientID:   start.ClientID,
		UserAgent:  start.UserAgent,
		Address:    start.Address,
		Generation: 1,
		RotationID: newRotationID(),
		Created:    now,
		Rotated:    now,
	}
	session.Expires = a.expiry(&session, start.Lifetimes)
	return session
}

// knowsOrigin reports whether a live session has the client and the network of a new one.
func (a *Account) knowsOrigin(session *Session) bool {
	for i := range a.Sessions {
		s := &a.Sessions[i]
		if s.live(session.Created) && s.ClientID == session.ClientID && networkOf(s.Address) == networkOf(session.Address) {
			return true
		}
	}
	return false
}

// makeRoom removes expired sessions, and live ones until there is room for one more.
func (a *Account) makeRoom(limit int, now time.Time) (evicted []Session) {
	a.removeSessions(func(s *Session) bool { return !s.live(now) })
	for len(a.Sessions) >= limit {
		oldest := &a.Sessions[0]
		for i := range a.Sessions {
			if a.Sessions[i].Issued().Before(oldest.Issued()) {
				oldest = &a.Sessions[i]
			}
		}
		evicted = append(evicted, *oldest)
		id := oldest.ID
		a.removeSessions(func(s *Session) bool { return s.ID == id })
	}
	return evicted
}

// FindBySession returns the account of a genuine access token, if the account is
// enabled and the session is alive. Otherwise it returns [ErrNotFound],
// [ErrDisabled], [ErrSessionEnded] or [ErrSuperseded]. With Config.CacheTTL it may
// answer from its cache, but it asks the backend before it refuses.
//
// The first call after a refresh marks the new generation as used, even if the context
// ends in the meantime. If that write fails, the caller is let in all the same, and the
// next call tries again.
func (a *Accounts) FindBySession(ctx context.Context, ref SessionRef) (*Account, error) {
	now := a.now()
	if a.cache == nil {
		return a.findBySessionFresh(ctx, ref, now)
	}
	if account := a.cache.held(ref.AccountID, now); account.grants(ref, now) {
		return account, nil
	}
	account, err := a.findBySessionFresh(ctx, ref, now)
	// If the caller hung up, the error may come from that and not from an outage.
	if errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		if old := a.cache.heldInOutage(ref.AccountID, now); old.grants(ref, now) {
			return old, nil
		}
	}
	return account, err
}

// grants reports whether a cached account lets a token in without asking the backend. A
// token of a later generation than the cached one may have to be marked as used. An
// outdated cached account cannot let a superseded generation in: that generation was
// never marked as used, so the backend is asked.
func (a *Account) grants(ref SessionRef, now time.Time) bool {
	if a == nil {
		return false
	}
	session, err := a.authenticate(ref, now)
	return err == nil && ref.Generation <= session.Generation && !session.needsMark(ref.Generation)
}

// FindBySessionFresh does what [Accounts.FindBySession] does, but ignores the cache. Call
// it before you refuse a caller because the account lacks something, such as a group:
// the cached account may be outdated. seen is the account that FindBySession returned.
// Without a cache seen is fresh, and FindBySessionFresh returns it.
func (a *Accounts) FindBySessionFresh(ctx context.Context, ref SessionRef, seen *Account) (*Account, error) {
	if a.cache == nil {
		return seen, nil
	}
	a.cache.startAnew(ref.AccountID)
	return a.findBySessionFresh(ctx, ref, a.now())
}

func (a *Accounts) findBySessionFresh(ctx context.Context, ref SessionRef, now time.Time) (*Account, error) {
	if a.cache == nil {
		account, err := a.backend.FindByID(ctx, ref.AccountID)
		return a.authenticated(ctx, account, err, ref, now)
	}
	account, shared, err := a.cache.fetch(ctx, ref.AccountID)
	account, err = a.authenticated(ctx, account, err, ref, now)
	if shared && Refused(err) {
		// The read of another caller may have begun before this session did. The next one has not.
		account, _, err = a.cache.fetch(ctx, ref.AccountID)
		account, err = a.authenticated(ctx, account, err, ref, now)
	}
	return account, err
}

// authenticated takes the outcome of a read, and returns the account if the session is
// alive. It marks the session's generation as used.
func (a *Accounts) authenticated(ctx context.Context, account *Account, err error, ref SessionRef, now time.Time) (*Account, error) {
	if err != nil {
		return nil, err
	}
	session, err := account.authenticate(ref, now)
	if err != nil {
		return nil, err
	}
	if session.needsMark(ref.Generation) {
		if err := a.markUsed(ctx, ref); Refused(err) {
			return nil, err // the session ended, or moved on, a moment ago
		}
	}
	return account, nil
}

// authenticate finds the live session of an enabled account.
func (a *Account) authenticate(ref SessionRef, now time.Time) (*Session, error) {
	if a.Disabled {
		return nil, ErrDisabled
	}
	session := a.session(ref.SessionID, now)
	switch {
	case session == nil:
		return nil, ErrSessionEnded
	case session.superseded(ref.Generation):
		return nil, ErrSuperseded
	}
	return session, nil
}

// live reports whether the session has not yet expired.
func (s *Session) live(now time.Time) bool { return now.Before(s.Expires) }

// needsMark reports whether the use of a generation must be written down. It need not
// for the first generation: no earlier refresh token can be presented again.
func (s *Session) needsMark(generation int64) bool {
	return generation == s.Generation && generation > 1 && !s.Used
}

// markTimeout bounds the write of a mark, which may outlive the request.
const markTimeout = 5 * time.Second

// markUsed marks a generation as used. It has a context of its own, so that a thief
// cannot stop the write by hanging up.
func (a *Accounts) markUsed(ctx context.Context, ref SessionRef) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	now := a.now()
	return a.backend.Update(ctx, ref.AccountID, func(account *Account) error {
		session, err := account.authenticate(ref, now)
		if err != nil {
			return err
		}
		if !session.needsMark(ref.Generation) {
			return ErrUnchanged
		}
		session.Used = true
		account.LastAction = now
		return nil
	})
}

// Sessions returns the live sessions of an account, the oldest login first.
func (a *Accounts) Sessions(ctx context.Context, id ID) ([]Session, error) {
	account, err := a.backend.FindByID(ctx, id)
	if err != nil {
		return nil, err
	}
	now := a.now()
	live := make([]Session, 0, len(account.Sessions))
	for _, session := range account.Sessions {
		if session.live(now) {
			live = append(live, session)
		}
	}
	return live, nil
}

// EndSession ends one session. It returns [ErrSessionEnded] if there was none.
func (a *Accounts) EndSession(ctx context.Context, id ID, sessionID string) error {
	ended := false
	return a.backend.Update(ctx, id, func(account *Account) error {
		switch {
		case account.removeSessions(func(s *Session) bool { return s.ID == sessionID }):
			ended = true
			return nil
		case ended:
			return ErrUnchanged // done already: the reply to the write was lost
		}
		return ErrSessionEnded
	})
}

// EndSessions ends all sessions of an account except the one whose id is except. An empty
// except ends all of them.
func (a *Accounts) EndSessions(ctx context.Context, id ID, except string) error {
	return a.backend.Update(ctx, id, func(account *Account) error {
		if !account.removeSessions(func(s *Session) bool { return s.ID != except }) {
			return ErrUnchanged
		}
		return nil
	})
}

func newSessionID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func newRotationID() int64 {
	var id [8]byte
	rand.Read(id[:]) // never fails
	return int64(binary.LittleEndian.Uint64(id[:]))
}
