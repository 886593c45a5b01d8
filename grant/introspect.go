package grant

import (
	"context"
	"errors"
	"net/http"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// IntrospectConfig configures [IntrospectHandler].
type IntrospectConfig struct {
	// Verifier verifies the access tokens that are asked about. Required.
	Verifier *tokens.Verifier
	// Allow tells whether a request, by an access token of its own say, may ask.
	// An error counts as an outage. Without it only confidential clients with
	// MayIntrospect may.
	Allow func(*http.Request) (bool, error)
}

// IntrospectHandler is the introspection endpoint (RFC 7662), for resource servers
// that cannot verify a token by themselves, or want to know that its session is
// alive: POST with a form that holds an access token. It counts as use of the
// token. Who may not ask gets 401; a token that is not good, and a refresh token,
// {"active":false}; an outage is 503 and never looks like a bad token.
//
// It returns an error if the configuration lacks something.
func IntrospectHandler(server *Server, config IntrospectConfig) (http.Handler, error) {
	if config.Verifier == nil {
		return nil, errors.New("grant: introspection: Verifier is required")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := server.introspect(w, r, config)
		if err != nil {
			if err.Status == http.StatusUnauthorized { // RFC 7662 section 2.3
				w.Header().Add("WWW-Authenticate", `Bearer realm="introspection endpoint"`)
			}
			server.fail(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	}), nil
}

// introspection is an answer (RFC 7662 section 2.2). What a token does not say of
// itself, such as groups, is not in it.
type introspection struct {
	Active    bool     `json:"active"`
	TokenType string   `json:"token_type,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Username  string   `json:"username,omitempty"`
	Subject   string   `json:"sub,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	Audience  []string `json:"aud,omitempty"`
	ID        string   `json:"jti,omitempty"`
	SessionID string   `json:"sid,omitempty"`
	IssuedAt  int64    `json:"iat,omitzero"`
	Expiry    int64    `json:"exp,omitzero"`
}

func (s *Server) introspect(w http.ResponseWriter, r *http.Request, config IntrospectConfig) (*introspection, *Error) {
	parameters, failure := s.readParameters(w, r)
	if failure != nil {
		return nil, failure
	}
	audience, failure := s.mayIntrospect(r, parameters, config)
	if failure != nil {
		return nil, failure
	}
	if parameters["token"] == "" {
		return nil, invalidRequest("token is missing")
	}
	token, account, err := s.look(r.Context(), config.Verifier, parameters["token"])
	switch {
	case err == nil:
	case isInvalidGrant(err):
		return &introspection{}, nil
	default:
		return nil, asError(err)
	}
	if audience != "" && !token.HasAudience(audience) {
		return &introspection{}, nil
	}
	return &introspection{
		Active:    true,
		TokenType: tokenTypeBearer,
		ClientID:  token.ClientID,
		Username:  account.Name,
		Subject:   token.Subject,
		Issuer:    token.Issuer,
		Audience:  token.Audience,
		ID:        token.ID,
		SessionID: token.SessionID,
		IssuedAt:  token.IssuedAt.Unix(),
		Expiry:    token.Expiry.Unix(),
	}, nil
}

// look verifies a token and looks up its session and account.
func (s *Server) look(ctx context.Context, verifier *tokens.Verifier, compact string) (tokens.AccessToken, *store.Account, error) {
	token, err := verifier.Verify(ctx, compact)
	if err != nil {
		return token, nil, err
	}
	id, err := store.ParseID(token.Subject)
	if err != nil {
		return token, nil, tokens.ErrMalformed
	}
	ref := store.SessionRef{AccountID: id, SessionID: token.SessionID, Generation: token.Generation}
	account, err := s.config.Accounts.FindBySession(ctx, ref)
	if errors.Is(err, store.ErrSuperseded) {
		s.TokenReused(ctx, ref)
	}
	return token, account, err
}

var errMayNotIntrospect = errors.New("grant: the caller may not introspect")

// mayIntrospect lets a client or another caller ask. audience, if not empty, is
// the one whose tokens it may ask about.
func (s *Server) mayIntrospect(r *http.Request, parameters map[string]string, config IntrospectConfig) (audience string, failure *Error) {
	sent, failure := clientOf(r, parameters)
	if failure != nil {
		return "", failure
	}
	if s.config.Clients != nil && sent.secret != "" {
		client, failure := s.authenticate(r.Context(), sent)
		if failure != nil {
			return "", failure
		}
		if client.MayIntrospect {
			return client.Audience, nil
		}
		return "", invalidClient(errMayNotIntrospect)
	}
	if config.Allow == nil {
		return "", invalidClient(errMayNotIntrospect)
	}
	allowed, err := config.Allow(r)
	switch {
	case err != nil:
		return "", asError(err)
	case !allowed:
		return "", invalidClient(errMayNotIntrospect)
	}
	return "", nil
}
