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
	cookie, err := h.server.RefreshCookie(r, caller.ClientID)
	if err != nil {
		return err
	}
	if err := h.accounts.EndSession(r.Context(), caller.AccountID, ended); err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventSessionRevoked, AccountID: caller.AccountID, SessionID: ended})
	if ended == caller.SessionID {
		cookie.Clear(w)
	}
	h.server.WriteEmpty(w)
	return nil
}

// endSessions ends all sessions, or with ?others=true all but the current one.
func (h *Handlers) endSessions(w http.ResponseWriter, r *http.Request) error {
	caller := middleware.MustFromContext(r.Context())
	cookie, err := h.server.RefreshCookie(r, caller.ClientID)
	if err != nil {
		return err
	}
	except, reason := "", "all"
	switch others := r.URL.Query()["others"]; {
	case len(others) == 0:
	case len(others) == 1 && others[0] == "true":
		except, reason = caller.SessionID, "all others"
	default: // else a typing error would end the caller's own session
		return grant.Malformed("others must be true, or be left out", "others")
	}
	if err := h.accounts.EndSessions(r.Context(), caller.AccountID, except); err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventSessionRevoked, AccountID: caller.AccountID, Reason: reason})
	if except == "" {
		cookie.Clear(w)
	}
	h.server.WriteEmpty(w)
	return nil
}
