// Package routers mounts the kit in routers other than the standard mux. It is an
// example to copy, not a package to import.
package routers

import (
	"fmt"
	"net/http"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/middleware"
)

// kit is what a program has made before it makes its router.
type kit struct {
	server  *grant.Server
	auth    *middleware.Authenticator
	account *selfservice.Handlers
	admin   *admin.Handlers
}

func (k *kit) endpoints() []grant.Endpoint {
	var all []grant.Endpoint
	all = append(all, k.server.Endpoints()...)
	all = append(all, k.account.Endpoints()...)
	return append(all, k.admin.Endpoints()...)
}

func orders(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, "the orders of ", middleware.MustAccountID(r.Context()).Hex())
}
