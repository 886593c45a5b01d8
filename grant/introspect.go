package grant

import (
	"context"
	"errors"
	"net/http"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// IntrospectionHandler is the introspection endpoint (RFC 7662): POST with a form that
// holds an access token. It is for resource servers that cannot verify a token by
// themselves, or that need to know whether its session is alive. A question counts as
// use of the token.
//
// The answer to a token that is not good, and to a refresh token, is
// {"active":false}. A caller who may not ask gets 401, see Config.MayIntrospect. An
// outage is 503 and never looks like a bad token.
func (s *Server) IntrospectionHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, failure := s.introspect(w, r)
		if failure != nil {
			s.fail(w, r, failure)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// introspects reports whether anybody may use the introspection endpoint.
func (s *Server) introspects() bool {
	return s.config.Clients != nil || s.config.MayIntrospect != nil
}

// introspection is an answer (RFC 7662 section 2.2), with the groups of the account.
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
	Groups    []string `json:"groups,omitzero"`
}

func (s *Server) introspect(w http.ResponseWriter, r *http.Request) (*introspection, *Error) {
	parameters, failure := s.readParameters(w, r)
	if failure != nil {
		return nil, failure
	}
	audience, failure := s.mayIntrospect(r, parameters)
	if failure != nil {
		return nil, failure
	}
	if parameters["token"] == "" {
		return nil, invalidRequest("token is missing")
	}
	token, account, err := s.findByToken(r.Context(), parameters["token"])
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
		Groups:    account.Groups,
	}, nil
}

// findByToken verifies an access token and finds its account.
func (s *Server) findByToken(ctx context.Context, compact string) (tokens.AccessToken, *store.Account, error) {
	token, err := s.config.Issuer.Verifier().Verify(ctx, compact)
	if err != nil {
		return token, nil, err
	}
	ref, err := store.ParseSessionRef(token.Subject, token.SessionID, token.Generation)
	if err != nil {
		return token, nil, err
	}
	account, err := s.config.Accounts.FindBySession(ctx, ref)
	if errors.Is(err, store.ErrSuperseded) {
		s.event(ctx, superseded(ref))
	}
	return token, account, err
}

var errMayNotIntrospect = errors.New("grant: the caller may not introspect")

// mayNotIntrospect is 401 even for a caller who is known (RFC 7662 section 2.3). The
// description tells operators that the credentials are not at fault.
func mayNotIntrospect(description string) *Error {
	return &Error{Code: CodeInvalidClient, Description: description, Status: http.StatusUnauthorized, Err: errMayNotIntrospect}
}

const challengeBearer = `Bearer realm="introspection endpoint"`

// mayIntrospect lets a confidential client or another caller ask. audience, if not
// empty, is the one whose tokens it may ask about.
func (s *Server) mayIntrospect(r *http.Request, parameters map[string]string) (audience string, failure *Error) {
	sent, failure := clientOf(r, parameters)
	if failure != nil {
		return "", failure
	}
	if s.config.Clients != nil && (sent.secret != "" || s.config.MayIntrospect == nil) {
		client, failure := s.authenticateClient(r.Context(), sent)
		// A registry of the deployer's own may hold a public client that may introspect.
		// Everybody knows its ID, and it has no secret to prove that it is the client.
		if failure == nil && (!client.MayIntrospect || client.SecretHash == "") {
			failure = mayNotIntrospect("the caller may not introspect")
		}
		if failure != nil {
			if failure.Status == http.StatusUnauthorized { // which needs a challenge, RFC 9110 section 15.5.2
				failure.challenges = []string{challengeBasic}
			}
			return "", failure
		}
		return client.Audience, nil
	}
	if s.config.MayIntrospect == nil { // nobody may
		failure := mayNotIntrospect("the endpoint is closed")
		failure.challenges = []string{challengeBasic}
		return "", failure
	}
	allowed, err := s.config.MayIntrospect(r)
	switch {
	case isInvalidGrant(err): // RFC 7662 section 2.3, RFC 6750 section 3.1
		return "", &Error{
			Code: "invalid_token", Description: "the access token is invalid, expired or revoked", Status: http.StatusUnauthorized, Err: err,
			challenges: []string{challengeBearer + `, error="invalid_token"`},
		}
	case err != nil:
		return "", outage(err)
	case !allowed:
		failure := mayNotIntrospect("the caller may not introspect")
		failure.challenges = []string{challengeBearer}
		if s.config.Clients != nil {
			failure.challenges = append(failure.challenges, challengeBasic)
		}
		return "", failure
	}
	return "", nil
}
