package admin

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/store"
)

// Config configures [Handlers].
type Config struct {
	// Server has the accounts, issues tokens, and is told of events. Required.
	Server *grant.Server
	// Auth authenticates the callers. It needs Config.Accounts. Required.
	Auth *middleware.Authenticator
	// Group is the group whose accounts may administer. The default is store.AdminGroup.
	//
	// Only the last account in store.AdminGroup is protected. With another Group, make
	// sure that somebody stays in it.
	Group string
	// Backup writes a copy of the store. *boltstore.Store is one. Without it the endpoint
	// for backups answers 501.
	Backup io.WriterTo
}

// Handlers are the endpoints. They are safe for concurrent use. Make them with [New].
type Handlers struct {
	config   Config
	server   *grant.Server
	accounts *store.Accounts
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
		return nil, fmt.Errorf("admin: configuration: %s", strings.Join(problems, "; "))
	}
	config.Group = cmp.Or(config.Group, store.AdminGroup)
	return &Handlers{config, config.Server, config.Server.Accounts()}, nil
}

// Endpoints lists the endpoints. To leave one out, do not mount it.
//
// The handlers read the parts of the path in braces with [http.Request.PathValue]. Routers
// other than *http.ServeMux must set them.
func (h *Handlers) Endpoints() []grant.Endpoint {
	const account = "/admin/accounts/{id}"
	protect := h.config.Auth.RequireGroup(h.config.Group)
	var endpoints []grant.Endpoint
	add := func(method, path string, handle func(w http.ResponseWriter, r *http.Request) error) {
		endpoints = append(endpoints, grant.Endpoint{Method: method, Path: path, Handler: protect(h.server.Problems(handle))})
	}
	add("GET", "/admin/accounts", h.list)
	add("POST", "/admin/accounts", h.create)
	add("GET", account, h.show)
	add("PATCH", account, h.change)
	add("DELETE", account, h.remove)
	add("PUT", account+"/groups/{group}", h.addToGroup)
	add("DELETE", account+"/groups/{group}", h.removeFromGroup)
	add("GET", account+"/sessions", h.listSessions)
	add("DELETE", account+"/sessions", h.endSessions)
	add("DELETE", account+"/sessions/{session}", h.endSession)
	add("POST", account+"/tokens", h.issueTokens)
	add("POST", account+"/unblock", h.unblock)
	add("GET", "/admin/backup", h.backup)
	return endpoints
}

// Mount mounts all endpoints.
func (h *Handlers) Mount(mux grant.Mux) { grant.Mount(mux, h.Endpoints()) }

// accountID returns the account that the path names.
func accountID(r *http.Request) (store.ID, error) {
	id, err := store.ParseID(r.PathValue("id"))
	if err != nil {
		return store.NilID, store.ErrNotFound
	}
	return id, nil
}

// report reports what the caller did to an account.
func (h *Handlers) report(r *http.Request, event grant.Event) {
	caller := middleware.MustFromContext(r.Context())
	event.Origin = h.server.Origin(r)
	event.ActorID, event.ClientID = caller.AccountID, caller.ClientID
	h.server.Report(r.Context(), event)
}

// done answers a change that succeeded and has nothing to show.
func (h *Handlers) done(w http.ResponseWriter, r *http.Request, event grant.Event) error {
	h.report(r, event)
	h.server.WriteEmpty(w)
	return nil
}
