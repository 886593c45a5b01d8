package main

import (
	"net/http"
	"time"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
)

// sessionHandlers show a user the sessions of the account and end them.
type sessionHandlers struct{ accounts *store.Accounts }

type sessionView struct {
	ID            string    `json:"id"`
	ClientID      string    `json:"client_id"`
	Created       time.Time `json:"created"`
	LastRefreshed time.Time `json:"last_refreshed"`
	Expires       time.Time `json:"expires"`
	UserAgent     string    `json:"user_agent,omitempty"`
	Address       string    `json:"address,omitempty"`
	Current       bool      `json:"current"`
}

func (h sessionHandlers) list(w http.ResponseWriter, r *http.Request) {
	caller := middleware.MustFromContext(r.Context())
	sessions, err := h.accounts.Sessions(r.Context(), caller.AccountID)
	if err != nil {
		writeStoreError(w, err)
		return
	}
	views := make([]sessionView, len(sessions))
	for i, s := range sessions {
		views[i] = sessionView{s.ID, s.ClientID, s.Created, s.Issued(), s.Expires, s.UserAgent, s.Address, s.ID == caller.SessionID}
	}
	writeJSON(w, map[string]any{"sessions": views})
}

func (h sessionHandlers) end(w http.ResponseWriter, r *http.Request) {
	err := h.accounts.EndSession(r.Context(), middleware.MustAccountID(r.Context()), r.PathValue("id"))
	if err != nil {
		writeStoreError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// endAll ends all sessions, or with ?others=true all but the current one.
func (h sessionHandlers) endAll(w http.ResponseWriter, r *http.Request) {
	caller := middleware.MustFromContext(r.Context())
	except := ""
	if r.URL.Query().Get("others") == "true" {
		except = caller.SessionID
	}
	if err := h.accounts.EndSessions(r.Context(), caller.AccountID, except); err != nil {
		writeStoreError(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func writeStoreError(w http.ResponseWriter, err error) {
	if store.Refused(err) {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	w.Header().Set("Retry-After", "5")
	http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
}
