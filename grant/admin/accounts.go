package admin

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
)

func (h *Handlers) list(w http.ResponseWriter, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return grant.Malformed("the query is malformed", "")
	}
	listing := store.Listing{Prefix: query.Get("prefix"), Group: query.Get("group"), After: query.Get("after")}
	if limit := query.Get("limit"); limit != "" {
		listing.Limit, err = strconv.Atoi(limit)
		if err != nil {
			return grant.Malformed("limit must be a number from 1 to 1,000", "limit")
		}
		if listing.Limit == 0 {
			listing.Limit = -1 // refused, while 0 would be the default of a Listing
		}
	}
	page, err := h.accounts.List(r.Context(), listing)
	if err != nil {
		return err
	}
	h.server.WriteJSON(w, http.StatusOK, struct {
		Accounts []*store.Account `json:"accounts"`
		Next     string           `json:"next,omitempty"`
	}{page.Accounts, page.Next})
	return nil
}

func (h *Handlers) create(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Name     string   `json:"name"`
		Email    string   `json:"email"`
		Phone    string   `json:"phone"`
		Password *string  `json:"password"`
		Groups   []string `json:"groups"`
	}
	if err := h.server.ReadJSON(w, r, &body, "name", "email"); err != nil {
		return err
	}
	wanted := store.NewAccount{Name: body.Name, Email: body.Email, Phone: body.Phone, Groups: body.Groups, NoPassword: body.Password == nil}
	if body.Password != nil {
		if wanted.Password = *body.Password; wanted.Password == "" {
			// Create takes it for a password that was left out by mistake. Refuse it as short.
			wanted.Password = " "
		}
	}
	account, err := h.accounts.Create(r.Context(), wanted)
	if err != nil {
		return err
	}
	h.report(r, grant.Event{Type: grant.EventAccountCreated, AccountID: account.ID, Reason: strings.Join(account.Groups, ", ")})
	h.server.WriteJSON(w, http.StatusCreated, account)
	return nil
}

func (h *Handlers) show(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	account, err := h.accounts.FindByID(r.Context(), id)
	if err != nil {
		return err
	}
	h.server.WriteJSON(w, http.StatusOK, account)
	return nil
}

func (h *Handlers) change(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	var body struct {
		Name     *string `json:"name"`
		Email    *string `json:"email"`
		Phone    *string `json:"phone"`
		Password *string `json:"password"`
		Disabled *bool   `json:"disabled"`
	}
	if err := h.server.ReadJSON(w, r, &body); err != nil {
		return err
	}
	changes := store.Changes(body)
	account, err := h.accounts.Change(r.Context(), id, changes)
	if err != nil {
		return err
	}
	if fields := changes.Fields(); len(fields) > 0 {
		h.report(r, grant.Event{Type: grant.EventAccountChanged, AccountID: id, Reason: strings.Join(fields, ", ")})
	}
	h.server.WriteJSON(w, http.StatusOK, account)
	return nil
}

func (h *Handlers) remove(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	if err := h.accounts.Remove(r.Context(), id); err != nil {
		return err
	}
	return h.done(w, r, grant.Event{Type: grant.EventAccountRemoved, AccountID: id})
}

func (h *Handlers) addToGroup(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	group := r.PathValue("group")
	if err := h.accounts.AddToGroup(r.Context(), id, group); err != nil {
		return err
	}
	return h.done(w, r, grant.Event{Type: grant.EventGroupAdded, AccountID: id, Reason: group})
}

func (h *Handlers) removeFromGroup(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	group := r.PathValue("group")
	if err := h.accounts.RemoveFromGroup(r.Context(), id, group); err != nil {
		return err
	}
	return h.done(w, r, grant.Event{Type: grant.EventGroupRemoved, AccountID: id, Reason: group})
}

func (h *Handlers) unblock(w http.ResponseWriter, r *http.Request) error {
	id, err := accountID(r)
	if err != nil {
		return err
	}
	if err := h.accounts.Unblock(r.Context(), id); err != nil {
		return err
	}
	return h.done(w, r, grant.Event{Type: grant.EventAccountUnblocked, AccountID: id})
}
