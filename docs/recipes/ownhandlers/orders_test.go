package ownhandlers

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

func TestOrdersAreForCallersWithAToken(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	api := newAPI(kit.Auth)

	answer := serve(api, kit.Request("GET", "/orders", kit.Account("ada")))
	assert.Equal(t, 200, answer.Code)
	assert.Equal(t, "the orders of ada", answer.Body.String())

	answer = serve(api, httptest.NewRequest("GET", "/orders", nil))
	assert.Equal(t, 401, answer.Code)
}

func serve(handler http.Handler, r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	return recorder
}

func TestReportsAreForStaff(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	api := newAPI(kit.Auth)
	assert.Equal(t, 200, serve(api, kit.Request("GET", "/reports", kit.Account("grace", "staff"))).Code)
	assert.Equal(t, 403, serve(api, kit.Request("GET", "/reports", kit.Account("ada"))).Code)
}

func TestAccessEndsWithTheTokenAndTheAccount(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	api := newAPI(kit.Auth)
	ada := kit.Account("ada")

	request := kit.Request("GET", "/orders", ada)
	assert.Equal(t, 200, serve(api, request).Code)
	kit.Sleep(time.Hour) // returns at once
	assert.Equal(t, 401, serve(api, request).Code)

	request = kit.Request("GET", "/orders", ada) // with a new token
	require.NoError(t, kit.Accounts.Disable(t.Context(), ada.ID))
	assert.Equal(t, 401, serve(api, request).Code)
}

func TestHandlerAlone(t *testing.T) {
	ctx := middleware.NewContext(t.Context(), &middleware.Caller{Account: &store.Account{ID: store.NewID(), Name: "ada"}})
	request := httptest.NewRequest("GET", "/orders", nil).WithContext(ctx)
	assert.Equal(t, "the orders of ada", serve(http.HandlerFunc(orders), request).Body.String())
}

func TestBrowserMaySendACookie(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{
		Middleware: func(c *middleware.Config) { c.Cookie = "access_token" },
	})
	token := kit.Token(kit.Account("ada"))
	request := httptest.NewRequest("GET", "/orders", nil)
	request.AddCookie(&http.Cookie{Name: "access_token", Value: token.AccessToken})
	assert.Equal(t, 200, serve(newAPI(kit.Auth), request).Code)
}
