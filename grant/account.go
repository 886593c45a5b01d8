package grant

import (
	"context"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// PasswordChange asks for a new password for an account whose owner knows the current one.
type PasswordChange struct {
	Origin
	AccountID                    store.ID
	CurrentPassword, NewPassword string
}

// ChangePassword gives an account a new password, ends all its sessions, and starts a new
// one for the client of the request, all in one write. Its errors are those of
// [store.Accounts.ChangePassword], see [ProblemOf], or an *[Error] about the client.
func (s *Server) ChangePassword(ctx context.Context, request PasswordChange) (*Response, error) {
	client, failure := s.client(ctx, request.ClientID)
	if failure != nil {
		return nil, failure
	}
	origin := s.tidy(request.Origin)
	state, err := s.config.Accounts.ChangePassword(
		ctx, request.AccountID, request.CurrentPassword, request.NewPassword, s.newSession(client, origin))
	if err != nil {
		return nil, err
	}
	return result(s.started(ctx, state, client, origin, EventPasswordChanged))
}

// SessionView is what a user or an administrator sees of a session.
type SessionView struct {
	ID            string    `json:"id"`
	ClientID      string    `json:"client_id"`
	Created       time.Time `json:"created"`
	LastRefreshed time.Time `json:"last_refreshed"`
	Expires       time.Time `json:"expires"`
	UserAgent     string    `json:"user_agent,omitempty"`
	Address       string    `json:"address,omitempty"`
	// Current reports whether it is the session of whoever asks.
	Current bool `json:"current"`
}

// SessionList is the answer that lists sessions.
type SessionList struct {
	Sessions []SessionView `json:"sessions"`
}

// ViewSessions returns the views of sessions. current is the id of the session of whoever
// asks.
func ViewSessions(sessions []store.Session, current string) []SessionView {
	views := make([]SessionView, len(sessions))
	for i, s := range sessions {
		views[i] = SessionView{s.ID, s.ClientID, s.Created, s.Issued(), s.Expires, s.UserAgent, s.Address, s.ID == current}
	}
	return views
}
