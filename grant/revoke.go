package grant

import (
	"net/http"

	"github.com/oauthsv/oauthsv/store"
)

// RevocationHandler is the revocation endpoint (RFC 7009): POST with a form that holds
// a token. It ends the session of any genuine token at once: access or refresh, of any
// generation, expired or not. The answer to anything else is 200 as well, as there is
// nothing to revoke.
//
// With Config.Clients the client authenticates as at the token endpoint, and can
// revoke its own tokens only.
func (s *Server) RevocationHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failure := s.revoke(w, r); failure != nil {
			s.fail(w, r, failure)
			return
		}
		writeJSON(w, http.StatusOK, struct{}{}) // some clients choke on an empty body
	})
}

func (s *Server) revoke(w http.ResponseWriter, r *http.Request) *Error {
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
	if parameters["token"] == "" {
		return invalidRequest("token is missing")
	}
	claims, err := s.config.Issuer.VerifyForRevocation(parameters["token"])
	if err != nil {
		return nil
	}
	if client != nil && client.ID != claims.ClientID {
		return asError(errOtherClient)
	}
	ref, err := store.ParseSessionRef(claims.Subject, claims.SessionID, claims.Generation)
	if err == nil {
		err = s.config.Accounts.EndSession(r.Context(), ref.AccountID, ref.SessionID)
	}
	if store.Refused(err) { // there is no such session any more
		return nil
	}
	if err != nil {
		return asError(err)
	}
	origin := s.tidy(s.Origin(r))
	origin.ClientID = claims.ClientID
	s.event(r.Context(), Event{Type: EventSessionRevoked, AccountID: ref.AccountID, SessionID: ref.SessionID, Origin: origin})
	return nil
}
