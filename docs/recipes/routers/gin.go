package routers

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/oauthsv/oauthsv/middleware"
)

func newGin(k *kit) http.Handler {
	router := gin.New()
	colons := strings.NewReplacer("{", ":", "}", "") // "/me/sessions/{id}" is "/me/sessions/:id"
	for _, endpoint := range k.endpoints() {
		path, handler := colons.Replace(endpoint.Path), ginHandler(endpoint.Handler)
		if endpoint.Method == "" {
			router.Any(path, handler)
		} else {
			router.Handle(endpoint.Method, path, handler)
		}
	}

	router.GET("/orders", ginMiddleware(k.auth.Require), ginOrders)

	reports := router.Group("/reports", ginMiddleware(k.auth.RequireGroup("staff")))
	reports.GET("/daily", ginOrders)
	return router
}

// ginHandler puts the parameters of the path where http.Request.PathValue finds them.
func ginHandler(handler http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		for _, param := range c.Params {
			c.Request.SetPathValue(param.Key, param.Value)
		}
		handler.ServeHTTP(c.Writer, c.Request)
	}
}

// ginMiddleware makes wrap a middleware of gin. If wrap does not let the request through,
// the handlers that follow do not run.
func ginMiddleware(wrap func(http.Handler) http.Handler) gin.HandlerFunc {
	return func(c *gin.Context) {
		passed := false
		wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			passed = true
			c.Request = r
			c.Next()
		})).ServeHTTP(c.Writer, c.Request)
		if !passed {
			c.Abort()
		}
	}
}

// The caller is in the context of the request, not in that of gin.
func ginOrders(c *gin.Context) {
	id := middleware.MustAccountID(c.Request.Context())
	c.String(http.StatusOK, fmt.Sprint("the orders of ", id.Hex()))
}
