package selfservice_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

// FuzzBodies sends bodies to the endpoints that anyone may call. Each answer is a success or
// a problem, and never a fault of the server.
func FuzzBodies(f *testing.F) {
	box := &outbox{}
	k := middlewaretest.New(f, middlewaretest.Config{
		Store: func(c *store.Config) {
			c.Mailer = box
			c.Codes = store.Codes{MailsTo: 1 << 40, MailsFrom: -1}
		},
		Grant: func(c *grant.Config) {
			c.Event = func(context.Context, grant.Event) {}
			c.Logger = slog.New(slog.DiscardHandler)
		},
	})
	k.Account("ada")
	handlers, err := selfservice.New(selfservice.Config{Server: k.Server, Auth: k.Auth})
	require.NoError(f, err)
	mux := http.NewServeMux()
	handlers.Mount(mux)
	paths := []string{"/accounts", "/accounts/confirm", "/password-reset", "/password-reset/confirm"}
	success := map[string]int{"/accounts": 202, "/accounts/confirm": 201, "/password-reset": 202, "/password-reset/confirm": 204}
	f.Add(byte(0), "application/json", `{"name":"grace","email":"grace@example.org","phone":"+1 2"}`)
	f.Add(byte(2), "application/json;charset=utf-8", `{"email":"ada@example.org"}`)
	f.Fuzz(func(t *testing.T, which byte, contentType, body string) {
		path := paths[int(which)%len(paths)]
		request := httptest.NewRequest("POST", path, strings.NewReader(body))
		request.Header.Set("Content-Type", contentType)
		recorder := httptest.NewRecorder()
		mux.ServeHTTP(recorder, request)
		require.Equal(t, "no-store", recorder.Header().Get("Cache-Control"))
		for _, mail := range box.deliver(t) {
			require.NotEmpty(t, mail.To)
		}
		if recorder.Code == success[path] {
			return
		}
		require.Contains(t, []int{400, 409, 413, 422}, recorder.Code)
		require.Equal(t, "application/problem+json", recorder.Header().Get("Content-Type"))
		require.Contains(t, recorder.Body.String(), `"type":"urn:oauthsv:problem:`)
	})
}
