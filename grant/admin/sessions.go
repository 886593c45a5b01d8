package admin

import (
	"net/http"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
)

func (h *Handlers) listSessions(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	sessions, err := h.accounts.Sessions(r.Context(), id)
	if err != nil {
		return err
	}
	current, _ := middleware.SessionID(r.Context())
	h.server.WriteJSON(w, http.StatusOK, grant.SessionList{Sessions: grant.ViewSessions(sessions, current)})
	return nil
}

func (h *Handlers) endSessions(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	if err := h.accounts.EndSessions(r.Context(), id, ""); err != nil {
		return err
	}
	return h.done(w, r, grant.Event{Type: grant.EventSessionRevoked, AccountID: id, Reason: "all"})
}

func (h *Handlers) endSession(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	session := r.PathValue("session")
	if err := h.accounts.EndSession(r.Context(), id, session); err != nil {
		return err
	}
	return h.done(w, r, grant.Event{Type: grant.EventSessionRevoked, AccountID: id, SessionID: session})
}

// issueTokens logs in for an account, for example for a service that has no password.
func (h *Handlers) issueTokens(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	var body struct {
		ClientID string `json:"client_id"`
	}
	if r.ContentLength != 0 { // every member is optional, and so is the body
		if err := h.server.ReadJSON(w, r, &body); err != nil {
			return err
		}
	}
	origin := h.server.Origin(r)
	origin.ClientID = body.ClientID
	response, err := h.server.Issue(r.Context(), id, origin)
	if err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventTokensIssued, AccountID: id, SessionID: response.SessionID, Reason: "client " + response.ClientID})
	h.server.WriteJSON(w, http.StatusOK, response)
	return nil
}
