package selfservice

import (
	"net/http"
	"strings"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
)

func (h *Handlers) showAccount(w http.ResponseWriter, r *http.Request) error {
	h.writeAccount(w, middleware.MustAccount(r.Context()))
	return nil
}

func (h *Handlers) writeAccount(w http.ResponseWriter, account *store.Account) {
	h.server.WriteJSON(w, http.StatusOK, struct {
		AccountID store.ID `json:"account_id"`
		Name      string   `json:"name"`
		Email     string   `json:"email"`
		Phone     string   `json:"phone,omitempty"`
		Groups    []string `json:"groups"`
	}{account.ID, account.Name, account.Email, account.Phone, account.Groups})
}

func (h *Handlers) changeAccount(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Name  *string `json:"name"`
		Phone *string `json:"phone"`
	}
	if err := h.server.ReadJSON(w, r, &body); err != nil {
		return err
	}
	id := middleware.MustAccountID(r.Context())
	changes := store.Changes{Name: body.Name, Phone: body.Phone}
	account, err := h.accounts.Change(r.Context(), id, changes)
	if err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventAccountChanged, AccountID: id, Reason: strings.Join(changes.Fields(), ", ")})
	h.writeAccount(w, account)
	return nil
}

func (h *Handlers) removeAccount(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		CurrentPassword string `json:"current_password"`
	}
	if err := h.server.ReadJSON(w, r, &body, "current_password"); err != nil {
		return err
	}
	caller := middleware.MustFromContext(r.Context())
	cookie, err := h.server.RefreshCookie(r, caller.ClientID)
	if err != nil {
		return err
	}
	if err := h.accounts.RemoveWithPassword(r.Context(), caller.AccountID, body.CurrentPassword); err != nil {
		return h.checked(r, err)
	}
	h.report(r, grant.Event{Type: grant.EventAccountRemoved, AccountID: caller.AccountID})
	cookie.Clear(w)
	h.server.WriteEmpty(w)
	return nil
}

func (h *Handlers) changePassword(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		CurrentPassword string `json:"current_password"`
		NewPassword     string `json:"new_password"`
	}
	if err := h.server.ReadJSON(w, r, &body, "current_password", "new_password"); err != nil {
		return err
	}
	caller := middleware.MustFromContext(r.Context())
	change := grant.PasswordChange{
		Origin: h.server.Origin(r), AccountID: caller.AccountID, CurrentPassword: body.CurrentPassword, NewPassword: body.NewPassword,
	}
	change.ClientID = caller.ClientID
	if _, err := h.server.RefreshCookie(r, caller.ClientID); err != nil {
		return err
	}
	response, err := h.server.ChangePassword(r.Context(), change)
	if err != nil {
		problem := grant.ProblemOf(h.checked(r, err))
		if problem.Field == "password" {
			problem.Field = "new_password" // as the request calls it
		}
		return problem
	}
	h.server.WriteTokens(w, response)
	return nil
}

func (h *Handlers) startEmailChange(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Email           string `json:"email"`
		CurrentPassword string `json:"current_password"`
	}
	if err := h.server.ReadJSON(w, r, &body, "email", "current_password"); err != nil {
		return err
	}
	err := h.accounts.StartEmailChange(r.Context(), middleware.MustAccountID(r.Context()), store.EmailChange{
		Email: body.Email, CurrentPassword: body.CurrentPassword, Address: h.server.Origin(r).Address,
	})
	if err != nil {
		return h.checked(r, err)
	}
	h.server.WriteJSON(w, http.StatusAccepted, struct{}{})
	return nil
}

func (h *Handlers) confirmEmailChange(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Code string `json:"code"`
	}
	if err := h.server.ReadJSON(w, r, &body, "code"); err != nil {
		return err
	}
	id := middleware.MustAccountID(r.Context())
	if err := h.accounts.ConfirmEmailChange(r.Context(), id, body.Code); err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventEmailChanged, AccountID: id})
	h.server.WriteEmpty(w)
	return nil
}
