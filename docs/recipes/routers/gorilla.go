package routers

import (
	"net/http"

	"github.com/gorilla/mux"
)

func newGorilla(k *kit) http.Handler {
	router := mux.NewRouter()
	for _, endpoint := range k.endpoints() {
		route := router.Handle(endpoint.Path, withVars(endpoint.Handler))
		if endpoint.Method != "" {
			route.Methods(endpoint.Method)
		}
	}

	router.Handle("/orders", k.auth.Require(http.HandlerFunc(orders))).Methods("GET")

	reports := router.PathPrefix("/reports").Subrouter()
	reports.Use(k.auth.RequireGroup("staff"))
	reports.HandleFunc("/daily", orders).Methods("GET")
	return router
}

// withVars puts the variables of the path where http.Request.PathValue finds them.
func withVars(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range mux.Vars(r) {
			r.SetPathValue(name, value)
		}
		next.ServeHTTP(w, r)
	})
}
