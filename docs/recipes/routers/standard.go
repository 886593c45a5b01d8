package routers

import "net/http"

func newStandard(k *kit) http.Handler {
	router := http.NewServeMux()
	k.server.Mount(router)
	k.account.Mount(router)
	k.admin.Mount(router)

	router.Handle("GET /orders", k.auth.Require(http.HandlerFunc(orders)))

	reports := http.NewServeMux()
	reports.HandleFunc("GET /reports/daily", orders)
	router.Handle("/reports/", k.auth.RequireGroup("staff")(reports))
	return router
}
