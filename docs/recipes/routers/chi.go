package routers

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

func newChi(k *kit) http.Handler {
	router := chi.NewRouter()
	k.server.Mount(router)
	k.account.Mount(router)
	k.admin.Mount(router)

	router.With(k.auth.Require).Get("/orders", orders)

	router.Route("/reports", func(reports chi.Router) {
		reports.Use(k.auth.RequireGroup("staff"))
		reports.Get("/daily", orders)
	})
	return router
}
