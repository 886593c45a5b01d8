package selfservice

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
)

// Config configures [Handlers].
type Config struct {
	// Server has the accounts, makes the tokens after a change of password, and is told
	// of events. Required.
	Server *grant.Server
	// Auth authenticates the callers of the endpoints below /me. It needs Config.Accounts.
	// Required.
	Auth *middleware.Authenticator
	// NoRegistration leaves out the endpoints of registration, so that strangers cannot
	// make accounts.
	NoRegistration bool
}

// Handlers are the endpoints. They are safe for concurrent use. Make them with [New].
type Handlers struct {
	server         *grant.Server
	accounts       *store.Accounts
	auth           *middleware.Authenticator
	noRegistration bool
}

// New checks the whole configuration and returns one error that names each wrong field.
func New(config Config) (*Handlers, error) {
	var problems []string
	if config.Server == nil {
		problems = append(problems, "Server is required: make it with grant.NewServer")
	}
	if config.Auth == nil {
		problems = append(problems, "Auth is required: make it with middleware.New")
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("selfservice: configuration: %s", strings.Join(problems, "; "))
	}
	return &Handlers{config.Server, config.Server.Accounts(), config.Auth, config.NoRegistration}, nil
}

// Endpoints lists the endpoints. To leave one out, do not mount it.
//
// The handlers of the paths with {id} read it with [http.Request.PathValue]. Routers other
// than *http.ServeMux must set it.
func (h *Handlers) Endpoints() []grant.Endpoint {
	var endpoints []grant.Endpoint
	add := func(method, path string, handle func(w http.ResponseWriter, r *http.Request) error) {
		endpoints = append(endpoints, grant.Endpoint{Method: method, Path: path, Handler: h.server.Problems(handle)})
	}
	if !h.noRegistration {
		add("POST", "/accounts", h.startRegistration)
		add("POST", "/accounts/confirm", h.confirmRegistration)
	}
	add("POST", "/password-reset", h.startPasswordReset)
	add("POST", "/password-reset/confirm", h.confirmPasswordReset)
	open := len(endpoints)
	add("GET", "/me", h.showAccount)
	add("PATCH", "/me", h.changeAccount)
	add("DELETE", "/me", h.removeAccount)
	add("PUT", "/me/password", h.changePassword)
	add("PUT", "/me/email", h.startEmailChange)
	add("POST", "/me/email/confirm", h.confirmEmailChange)
	add("GET", "/me/sessions", h.listSessions)
	add("DELETE", "/me/sessions", h.endSessions)
	add("DELETE", "/me/sessions/{id}", h.endSession)
	for i := range endpoints[open:] {
		protected := &endpoints[open+i]
		protected.Handler = h.auth.Require(protected.Handler)
	}
	return endpoints
}

// Mount mounts all endpoints.
func (h *Handlers) Mount(mux grant.Mux) { grant.Mount(mux, h.Endpoints()) }

// report reports what the owner of an account did.
func (h *Handlers) report(r *http.Request, event grant.Event) {
	event.Origin = h.server.Origin(r)
	event.ClientID, _ = middleware.ClientID(r.Context())
	h.server.Report(r.Context(), event)
}

// checked reports an error that the owner of the account, or an operator, may want to know
// of. It returns the error as it is.
func (h *Handlers) checked(r *http.Request, err error) error {
	id, _ := middleware.AccountID(r.Context())
	var throttled *store.ThrottledError
	switch {
	case errors.As(err, &throttled) && throttled.Mails:
		h.report(r, grant.Event{Type: grant.EventMailThrottled, AccountID: id, Reason: err.Error()})
	case errors.As(err, &throttled):
		h.report(r, grant.Event{Type: grant.EventPasswordCheckThrottled, AccountID: id, Reason: err.Error()})
	case errors.Is(err, store.ErrCredentials):
		h.report(r, grant.Event{Type: grant.EventPasswordCheckFailed, AccountID: id, Reason: "wrong password"})
	}
	return err
}
