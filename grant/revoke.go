package grant

import (
	"context"
	"net/http"

	"github.com/oauthsv/oauthsv/store"
)

// RevocationHandler is the revocation endpoint (RFC 7009): POST with a form that holds
// a token. It ends the session of any genuine token at once: access or refresh, of any
// generation, expired or not. The answer to anything else is 200 as well, as there is
// nothing to revoke.
//
// With Config.Clients the client authenticates as at the token endpoint, and can
// revoke its own tokens only. A client with a [RefreshCookie] needs to send no token: the
// session of the cookie ends, and the cookie is cleared.
func (s *Server) RevocationHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failure := s.revocation(w, r); failure != nil {
			s.fail(w, r, failure)
			return
		}
		writeJSON(w, http.StatusOK, struct{}{}) // some clients choke on an empty body
	})
}

func (s *Server) revocation(w http.ResponseWriter, r *http.Request) *Error {
	parameters, failure := s.readParameters(w, r)
	if failure != nil {
		return failure
	}
	sent, failure := clientOf(r, parameters)
	if failure != nil {
		return failure
	}
	client, failure := s.authenticateClient(r.Context(), sent)
	if failure != nil {
		return failure
	}
	cookie := s.refreshCookie(client, sent.id)
	if failure := cookie.check(r); failure != nil {
		return failure
	}
	origin := s.Origin(r)
	token := parameters["token"]
	if cookie != nil {
		if failure := s.revokeCookies(w, r, cookie, client, origin); failure != nil || token == "" {
			return failure
		}
	}
	if token == "" {
		return invalidRequest("token is missing")
	}
	return s.revoke(r.Context(), token, client, origin)
}

// Revoke ends the session of a genuine token, as [Server.RevocationHandler] says. Anything
// else is no error. Every error is an *[Error]. With Config.Clients the caller must have
// authenticated the client that ClientID names.
func (s *Server) Revoke(ctx context.Context, token string, origin Origin) error {
	client, failure := s.client(ctx, origin.ClientID)
	if failure == nil {
		failure = s.revoke(ctx, token, client, origin)
	}
	if failure != nil {
		return failure
	}
	return nil
}

func (s *Server) revoke(ctx context.Context, token string, client *Client, origin Origin) *Error {
	claims, err := s.config.Issuer.VerifyForRevocation(token)
	if err != nil {
		return nil
	}
	if client != nil && client.ID != claims.ClientID {
		return asError(errOtherClient)
	}
	ref, err := store.ParseSessionRef(claims.Subject, claims.SessionID, claims.Generation)
	if err == nil {
		err = s.config.Accounts.EndSession(ctx, ref.AccountID, ref.SessionID)
	}
	if store.Refused(err) { // there is no such session any more
		return nil
	}
	if err != nil {
		return asError(err)
	}
	origin = s.tidy(origin)
	origin.ClientID = claims.ClientID
	s.event(ctx, Event{Type: EventSessionRevoked, AccountID: ref.AccountID, SessionID: ref.SessionID, Origin: origin})
	return nil
}
