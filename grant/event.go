package grant

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"github.com/oauthsv/oauthsv/store"
)

// EventType says what happened.
type EventType string

// The events. By default failures, evictions and reuse are logged as warnings, and
// the others as information.
const (
	EventLoginSucceeded EventType = "login_succeeded"
	// EventLoginFailed: the name is unknown, the password is wrong, the account is
	// disabled, or there is an outage. Reason says which.
	EventLoginFailed EventType = "login_failed"
	// EventLoginThrottled: too many logins have failed, so the password was not looked
	// at.
	EventLoginThrottled EventType = "login_throttled"
	// EventLoginRefused: the password was right, and Config.Approve refused.
	EventLoginRefused EventType = "login_refused"
	// EventSessionIssued: Server.Issue started a session without a password.
	EventSessionIssued EventType = "session_issued"
	// EventIssueFailed: Server.Issue found no account, or a disabled one, or an
	// outage.
	EventIssueFailed EventType = "issue_failed"
	// EventTokenRefreshed: a client has exchanged its refresh token for new tokens.
	EventTokenRefreshed EventType = "token_refreshed"
	// EventRefreshTokenReplayed: two callers used a refresh token at about the same
	// time, for example two tabs. Both got the same generation.
	EventRefreshTokenReplayed EventType = "refresh_token_replayed"
	// EventRefreshTokenRecovered: a refresh token was used again because its reply
	// was lost. It gave a new generation, and the lost one is void.
	EventRefreshTokenRecovered EventType = "refresh_token_recovered"
	// EventRefreshTokenReused: two holders have one refresh token, so somebody may
	// have stolen it. Where it was used again, the session has ended. Where an
	// access token of a void generation was used, see [store.ErrSuperseded], the
	// session lives on.
	EventRefreshTokenReused EventType = "refresh_token_reused"
	// EventRefreshFailed: a refresh token was refused for any other reason, or there was
	// an outage.
	EventRefreshFailed EventType = "refresh_failed"
	// EventSessionEvicted: a session was ended to make room for another.
	EventSessionEvicted EventType = "session_evicted"
	// EventSessionRevoked: a client has logged out, or a user or an administrator has ended
	// a session.
	EventSessionRevoked EventType = "session_revoked"

	// EventPasswordCheckFailed: an account's current password was asked for, and is
	// wrong. EventPasswordCheckThrottled: it was wrong too often to be looked at.
	EventPasswordCheckFailed    EventType = "password_check_failed"
	EventPasswordCheckThrottled EventType = "password_check_throttled"
	// EventMailThrottled: too many mails with codes were asked for.
	EventMailThrottled EventType = "mail_throttled"
	// EventAccountCreated: by a registration, or by an administrator.
	EventAccountCreated EventType = "account_created"
	EventAccountRemoved EventType = "account_removed"
	// EventAccountChanged: Reason names the fields that were given.
	EventAccountChanged  EventType = "account_changed"
	EventPasswordChanged EventType = "password_changed"
	// EventPasswordReset: the password was set with a code from a mail.
	EventPasswordReset EventType = "password_reset"
	EventEmailChanged  EventType = "email_changed"

	// The events of administrators. Reason names the group, or the client of the tokens.
	EventGroupAdded       EventType = "group_added"
	EventGroupRemoved     EventType = "group_removed"
	EventAccountUnblocked EventType = "account_unblocked"
	EventTokensIssued     EventType = "tokens_issued"
	EventBackupMade       EventType = "backup_made"
	EventBackupFailed     EventType = "backup_failed"
)

// Event is something that happened. It holds no password and no token. It holds no
// name that was submitted: a name that matches nobody is often a password.
type Event struct {
	Type EventType
	Time time.Time
	// AccountID is the account, or store.NilID if it is not known.
	AccountID store.ID
	// ActorID is the administrator who did it, or store.NilID if the account itself did.
	ActorID store.ID
	// SessionID is the session, or empty if there is none.
	SessionID string
	// Origin is where the request came from. Its strings have no control characters
	// and at most 256 bytes.
	Origin
	// Reason explains a failure.
	Reason string
}

func (s *Server) event(ctx context.Context, event Event) {
	event.Time = s.config.Now()
	s.counters.count(event.Type)
	s.config.Event(ctx, event)
}

// Report tells Config.Event of an event, with its time, and with a clean origin and reason. It
// also counts the event, see [Server.Counts]. It is for endpoints that stand beside those of
// the Server. If you report types of your own, there must be few: the count of each stays.
func (s *Server) Report(ctx context.Context, event Event) {
	event.Origin = s.tidy(event.Origin)
	event.Reason = clean(event.Reason)
	s.event(ctx, event)
}

// TokenReused makes a function for middleware.Config.TokenReused. Give it the function
// that you have given to Config.Event, so that all events go the same way. If you have a
// Server at hand, use its method of this name instead: it counts the events as well.
func TokenReused(event func(ctx context.Context, event Event)) func(ctx context.Context, ref store.SessionRef) {
	return func(ctx context.Context, ref store.SessionRef) {
		reused := superseded(ref)
		reused.Time = time.Now()
		event(ctx, reused)
	}
}

// superseded is the event of an access token of a void generation.
func superseded(ref store.SessionRef) Event {
	return Event{
		Type: EventRefreshTokenReused, AccountID: ref.AccountID, SessionID: ref.SessionID, Reason: store.ErrSuperseded.Error(),
	}
}

func (e *Event) level() slog.Level {
	switch e.Type {
	case EventLoginFailed, EventLoginThrottled, EventLoginRefused, EventIssueFailed, EventRefreshTokenReused, EventRefreshFailed,
		EventSessionEvicted, EventPasswordCheckFailed, EventPasswordCheckThrottled, EventMailThrottled,
		EventBackupFailed:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (e *Event) attributes() []slog.Attr {
	var attributes []slog.Attr
	add := func(name, value string) {
		if value != "" {
			attributes = append(attributes, slog.String(name, value))
		}
	}
	if !e.AccountID.IsZero() {
		add("account_id", e.AccountID.Hex())
	}
	if !e.ActorID.IsZero() {
		add("actor_id", e.ActorID.Hex())
	}
	add("session_id", e.SessionID)
	add("client_id", e.ClientID)
	add("address", e.Address)
	add("user_agent", e.UserAgent)
	add("reason", e.Reason)
	return attributes
}

// maxText bounds, in bytes, what a request can put into logs and records.
const maxText = 256

// clean makes a string of a request fit for logs. It cuts the string to maxText and
// drops characters that could forge a line or move a terminal's cursor.
func clean(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxText)], "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, text)
}

func (s *Server) loginFailed(ctx context.Context, origin Origin, err error) *Error {
	event := Event{Type: EventLoginFailed, Origin: origin}
	if errors.Is(err, store.ErrThrottled) {
		event.Type = EventLoginThrottled
	}
	var failed *store.CredentialsError
	if errors.As(err, &failed) {
		event.AccountID = failed.AccountID
		switch {
		case failed.Err != nil:
			event.Reason = failed.Err.Error()
		case failed.AccountID.IsZero():
			event.Reason = "unknown name"
		default:
			event.Reason = "wrong password"
		}
	} else {
		event.Reason = err.Error()
	}
	s.event(ctx, event)
	return asError(err)
}

func (s *Server) refreshFailed(ctx context.Context, event Event, err error) *Error {
	event.Type, event.Reason = EventRefreshFailed, err.Error()
	if errors.Is(err, store.ErrRefreshReused) {
		event.Type = EventRefreshTokenReused
	}
	s.event(ctx, event)
	return asError(err)
}
