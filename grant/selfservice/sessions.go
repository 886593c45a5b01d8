package selfservice

import (
	"net/http"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
)

func (h *Handlers) listSessions(w http.ResponseWriter, r *http.Request) error {
	caller := middleware.MustFromContext(r.Context())
	sessions, err := h.accounts.Sessions(r.Context(), caller.AccountID)
	if err != nil {
		return err
	}
	h.server.WriteJSON(w, http.StatusOK, grant.SessionList{Sessions: grant.ViewSessions(sessions, caller.SessionID)})
	return nil
}

func (h *Handlers) endSession(w http.ResponseWriter, r *http.Request) error {
	caller := middleware.MustFromContext(r.Context())
	ended := r.PathValue("id")
	if err := h.accounts.EndSession(r.Context(), caller.AccountID, ended); err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventSessionRevoked, AccountID: caller.AccountID, SessionID: ended})
	h.server.WriteEmpty(w)
	return nil
}

// endSessions ends all sessions, or with ?others=true all but the current one.
func (h *Handlers) endSessions(w http.ResponseWriter, r *http.Request) error {
	caller := middleware.MustFromContext(r.Context())
	except, reason := "", "all"
	if r.URL.Query().Get("others") == "true" {
		except, reason = caller.SessionID, "all others"
	}
	if err := h.accounts.EndSessions(r.Context(), caller.AccountID, except); err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventSessionRevoked, AccountID: caller.AccountID, Reason: reason})
	h.server.WriteEmpty(w)
	return nil
}
