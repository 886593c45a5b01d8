package routers

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/oauthsv/oauthsv/middleware"
)

func newEcho4(k *kit) http.Handler {
	router := echo.New()
	colons := strings.NewReplacer("{", ":", "}", "")
	for _, endpoint := range k.endpoints() {
		path, handler := colons.Replace(endpoint.Path), echo4Handler(endpoint.Handler)
		if endpoint.Method == "" {
			router.Any(path, handler)
		} else {
			router.Add(endpoint.Method, path, handler)
		}
	}
	router.GET("/orders", echo4Orders, echo.WrapMiddleware(k.auth.Require))
	reports := router.Group("/reports", echo.WrapMiddleware(k.auth.RequireGroup("staff")))
	reports.GET("/daily", echo4Orders)
	return router
}

func echo4Orders(c echo.Context) error {
	id := middleware.MustAccountID(c.Request().Context())
	return c.String(http.StatusOK, fmt.Sprint("the orders of ", id.Hex()))
}

// echo4Handler does what echo.WrapHandler of v5 does, which that of v4 does not: it puts
// the parameters of the path where http.Request.PathValue finds them.
func echo4Handler(handler http.Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		for _, name := range c.ParamNames() {
			c.Request().SetPathValue(name, c.Param(name))
		}
		handler.ServeHTTP(c.Response(), c.Request())
		return nil
	}
}
