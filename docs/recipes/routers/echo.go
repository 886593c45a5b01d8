package routers

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/oauthsv/oauthsv/middleware"
)

func newEcho(k *kit) http.Handler {
	router := echo.New()
	colons := strings.NewReplacer("{", ":", "}", "") // "/me/sessions/{id}" is "/me/sessions/:id"
	for _, endpoint := range k.endpoints() {
		path, handler := colons.Replace(endpoint.Path), echo.WrapHandler(endpoint.Handler)
		if endpoint.Method == "" {
			router.Any(path, handler)
		} else {
			router.Add(endpoint.Method, path, handler)
		}
	}

	router.GET("/orders", echoOrders, echo.WrapMiddleware(k.auth.Require))

	reports := router.Group("/reports", echo.WrapMiddleware(k.auth.RequireGroup("staff")))
	reports.GET("/daily", echoOrders)
	return router
}

// The caller is in the context of the request.
func echoOrders(c *echo.Context) error {
	id := middleware.MustAccountID(c.Request().Context())
	return c.String(http.StatusOK, fmt.Sprint("the orders of ", id.Hex()))
}
