package grant

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// Server makes the grants. It is safe for concurrent use. Make it with [NewServer].
type Server struct {
	config    Config
	accessTTL int64 // seconds
	counters  counters
}

// Origin says where a request came from. Every field is optional.
type Origin struct {
	// ClientID is the client_id the client sent (RFC 6749 section 2.2).
	ClientID string
	// Address is the client's network address.
	Address string
	// UserAgent is what the client's program calls itself.
	UserAgent string
}

// PasswordRequest asks for tokens in exchange for a password.
type PasswordRequest struct {
	Origin
	// Username is an account's name, or its e-mail if it holds an "@".
	Username string
	Password string
}

// RefreshRequest asks for new tokens in exchange for a refresh token.
type RefreshRequest struct {
	Origin
	RefreshToken string
}

// Response is a token response (RFC 6749 section 5.1).
type Response struct {
	AccessToken string `json:"access_token"`
	// TokenType says how to use the access token.
	TokenType string `json:"token_type"`
	// ExpiresIn is the lifetime of the access token in seconds.
	ExpiresIn int64 `json:"expires_in"`
	// RefreshToken is empty if there is a Cookie.
	RefreshToken string `json:"refresh_token,omitempty"`

	// The next fields are for the Go caller and not sent.

	// RefreshExpiry is when the refresh token and its session end, unless it is used
	// before.
	RefreshExpiry time.Time `json:"-"`
	// Cookie holds the refresh token of a client with a [RefreshCookie]. Send it with
	// [Server.WriteTokens] or http.SetCookie.
	Cookie    *http.Cookie `json:"-"`
	AccountID store.ID     `json:"-"`
	SessionID string       `json:"-"`
	// ClientID is the client of the session.
	ClientID string `json:"-"`
}

const tokenTypeBearer = "Bearer" // RFC 6750 section 4

// Password is the password grant (RFC 6749 section 4.3). Every error is an
// *[Error]; an unknown name, a wrong password and a disabled account give the
// same one. With Config.Clients the caller must have authenticated the client that
// ClientID names.
func (s *Server) Password(ctx context.Context, request PasswordRequest) (*Response, error) {
	client, failure := s.client(ctx, request.ClientID)
	if failure != nil {
		return nil, failure
	}
	return result(s.password(ctx, request, client))
}

// result makes an error of a failure: a nil *Error in an error would not be nil.
func result(response *Response, failure *Error) (*Response, error) {
	if failure != nil {
		return nil, failure
	}
	return response, nil
}

func (s *Server) password(ctx context.Context, request PasswordRequest, client *Client) (*Response, *Error) {
	if !client.may(GrantPassword) {
		return nil, unauthorizedClient()
	}
	request.Origin = s.tidy(request.Origin)
	var refusal *Error // of Config.Approve
	login := store.Login{
		Username: request.Username, Password: request.Password, Address: request.Address,
		Session: s.newSession(client, request.Origin),
	}
	if s.config.Approve != nil {
		login.Approve = func(ctx context.Context, account *store.Account) error {
			err := s.config.Approve(ctx, account, request)
			if err == nil {
				return nil
			}
			if !errors.As(err, &refusal) {
				refusal = outage(err)
			}
			s.event(ctx, Event{Type: EventLoginRefused, AccountID: account.ID, Origin: request.Origin, Reason: refusal.Code})
			return refusal
		}
	}
	state, err := s.config.Accounts.Login(ctx, login)
	switch {
	case refusal != nil && errors.Is(err, refusal):
		return nil, refusal
	case err != nil:
		return nil, s.loginFailed(ctx, request.Origin, err)
	}
	return s.started(ctx, state, client, request.Origin, EventLoginSucceeded)
}

// Issue starts a session for an account and asks for no password. It is for
// administration, service accounts and invitations. The caller is responsible for who
// gets the tokens. Every error is an *[Error] that wraps the store's, for example
// store.ErrDisabled.
func (s *Server) Issue(ctx context.Context, id store.ID, origin Origin) (*Response, error) {
	client, failure := s.client(ctx, origin.ClientID)
	if failure != nil {
		return nil, failure
	}
	origin = s.tidy(origin)
	state, err := s.config.Accounts.IssueSession(ctx, id, s.newSession(client, origin))
	if err != nil {
		s.event(ctx, Event{Type: EventIssueFailed, AccountID: id, Origin: origin, Reason: err.Error()})
		return nil, asError(err)
	}
	return result(s.started(ctx, state, client, origin, EventSessionIssued))
}

// Accounts returns Config.Accounts.
func (s *Server) Accounts() *store.Accounts { return s.config.Accounts }

// Origin returns where a request came from, without its client: the address as the Server
// finds it, see Config.TrustedProxies, and the user agent.
func (s *Server) Origin(r *http.Request) Origin {
	return Origin{Address: s.config.ClientAddress(r), UserAgent: r.UserAgent()}
}

func (s *Server) newSession(client *Client, origin Origin) store.NewSession {
	start := store.NewSession{ClientID: origin.ClientID, Lifetimes: client.lifetimes()}
	if s.config.RecordOrigin {
		start.Address, start.UserAgent = origin.Address, origin.UserAgent
	}
	return start
}

// started answers with the tokens of a new session.
func (s *Server) started(ctx context.Context, state *store.SessionState, client *Client, origin Origin, success EventType) (*Response, *Error) {
	response, err := s.respond(state, client)
	if err != nil {
		return nil, asError(err)
	}
	for _, evicted := range state.Evicted {
		s.event(ctx, Event{Type: EventSessionEvicted, AccountID: state.Account.ID, SessionID: evicted.ID, Origin: origin})
	}
	s.event(ctx, Event{Type: success, AccountID: state.Account.ID, SessionID: state.Session.ID, Origin: origin})
	return response, nil
}

// Refresh is the refresh of tokens (RFC 6749 section 6), with rotation as
// [store.Accounts.RefreshSession] has it. Every error is an *[Error]. A token works
// only for the client that it was issued to. Without Config.Clients, a request that
// names no client is let through, unless the token's client has a [RefreshCookie].
//
// The checks run in the order type, key, signature, expiry, client, account, session,
// generation. Only the last can end a session.
func (s *Server) Refresh(ctx context.Context, request RefreshRequest) (*Response, error) {
	client, failure := s.client(ctx, request.ClientID)
	if failure != nil {
		return nil, failure
	}
	return result(s.refresh(ctx, request, client))
}

func (s *Server) refresh(ctx context.Context, request RefreshRequest, client *Client) (*Response, *Error) {
	if !client.may(GrantRefreshToken) {
		return nil, unauthorizedClient()
	}
	named := request.ClientID != "" || client != nil
	request.Origin = s.tidy(request.Origin)
	token, err := s.config.Issuer.VerifyRefresh(request.RefreshToken)
	if err != nil {
		return nil, s.refreshFailed(ctx, Event{Origin: request.Origin}, err)
	}
	event := Event{SessionID: token.SessionID, Origin: request.Origin}
	named = named || s.refreshCookie(client, token.ClientID) != nil
	if named && request.ClientID != token.ClientID {
		return nil, s.refreshFailed(ctx, event, errOtherClient)
	}
	event.ClientID = token.ClientID
	ref, err := store.ParseSessionRef(token.Subject, token.SessionID, token.Generation)
	if err != nil {
		return nil, s.refreshFailed(ctx, event, err)
	}
	event.AccountID = ref.AccountID
	state, err := s.config.Accounts.RefreshSession(ctx, ref, client.lifetimes())
	if err != nil {
		return nil, s.refreshFailed(ctx, event, err)
	}
	response, err := s.respond(state, client)
	if err != nil {
		return nil, asError(err)
	}
	switch {
	case state.Replayed:
		event.Type = EventRefreshTokenReplayed
	case state.Recovered:
		event.Type = EventRefreshTokenRecovered
	default:
		event.Type = EventTokenRefreshed
	}
	s.event(ctx, event)
	return response, nil
}

// respond signs the pair of tokens of the session's current generation. Neither
// outlives the session.
func (s *Server) respond(state *store.SessionState, client *Client) (*Response, error) {
	now := s.config.Now()
	end := state.Session.Expires
	accessTTL := s.accessTTL
	if client != nil && client.AccessTTL != 0 {
		accessTTL = int64(client.AccessTTL / time.Second)
	}
	claims := tokens.Claims{
		Subject:    state.Account.ID.Hex(),
		ClientID:   state.Session.ClientID,
		SessionID:  state.Session.ID,
		Generation: state.Session.Generation,
		Expiry:     end,
	}
	refresh, err := s.config.Issuer.SignRefresh(claims)
	if err != nil {
		return nil, err
	}
	if expiry := time.Unix(now.Unix()+accessTTL, 0); expiry.Before(end) {
		claims.Expiry = expiry
	}
	access, err := s.config.Issuer.SignAccess(claims)
	if err != nil {
		return nil, err
	}
	response := &Response{
		AccessToken:   access,
		TokenType:     tokenTypeBearer,
		ExpiresIn:     min(accessTTL, int64(end.Sub(now)/time.Second)),
		RefreshExpiry: end,
		AccountID:     state.Account.ID,
		SessionID:     state.Session.ID,
		ClientID:      state.Session.ClientID,
	}
	if cookie := s.refreshCookie(client, state.Session.ClientID); cookie != nil {
		response.Cookie = cookie.issue(refresh, end.Sub(now))
	} else {
		response.RefreshToken = refresh
	}
	return response, nil
}

// tidy makes an origin fit for records and logs.
func (s *Server) tidy(origin Origin) Origin {
	if !wellFormedClientID(origin.ClientID) {
		origin.ClientID = s.config.DefaultClientID
	}
	origin.Address = clean(origin.Address)
	origin.UserAgent = clean(origin.UserAgent)
	return origin
}

// wellFormedClientID: RFC 6749 appendix A.1, with a bound.
func wellFormedClientID(id string) bool {
	for i := range len(id) {
		if id[i] < 0x20 || id[i] > 0x7e {
			return false
		}
	}
	return id != "" && len(id) <= maxText
}
