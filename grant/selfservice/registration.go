package selfservice

import (
	"net/http"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
)

func (h *Handlers) startRegistration(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Name  string `json:"name"`
		Email string `json:"email"`
		Phone string `json:"phone"`
	}
	if err := h.server.ReadJSON(w, r, &body, "name", "email"); err != nil {
		return err
	}
	err := h.accounts.StartRegistration(r.Context(), store.Registration{
		Name: body.Name, Email: body.Email, Phone: body.Phone, Address: h.server.Origin(r).Address,
	})
	if err != nil {
		return h.checked(r, err)
	}
	h.server.WriteJSON(w, http.StatusAccepted, struct{}{})
	return nil
}

func (h *Handlers) confirmRegistration(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Code     string `json:"code"`
		Password string `json:"password"`
		Name     string `json:"name"`
	}
	if err := h.server.ReadJSON(w, r, &body, "code", "password"); err != nil {
		return err
	}
	account, err := h.accounts.ConfirmRegistration(r.Context(), store.RegistrationConfirmation{
		Code: body.Code, Password: body.Password, Name: body.Name, Address: h.server.Origin(r).Address,
	})
	if err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventAccountCreated, AccountID: account.ID})
	h.server.WriteJSON(w, http.StatusCreated, struct {
		AccountID store.ID `json:"account_id"`
	}{account.ID})
	return nil
}

func (h *Handlers) startPasswordReset(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Email string `json:"email"`
	}
	if err := h.server.ReadJSON(w, r, &body, "email"); err != nil {
		return err
	}
	if err := h.accounts.StartPasswordReset(r.Context(), body.Email, h.server.Origin(r).Address); err != nil {
		return h.checked(r, err)
	}
	h.server.WriteJSON(w, http.StatusAccepted, struct{}{})
	return nil
}

func (h *Handlers) confirmPasswordReset(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Code     string `json:"code"`
		Password string `json:"password"`
	}
	if err := h.server.ReadJSON(w, r, &body, "code", "password"); err != nil {
		return err
	}
	id, err := h.accounts.ConfirmPasswordReset(r.Context(), body.Code, body.Password, h.server.Origin(r).Address)
	if err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventPasswordReset, AccountID: id})
	h.server.WriteEmpty(w)
	return nil
}
