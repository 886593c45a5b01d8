package admin_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// sessions returns the sessions that an answer lists.
func (k *kit) sessions(account *store.Account) (views []object) {
	k.t.Helper()
	got := k.ok(200, k.call("GET", path(account)+"/sessions", nil))
	require.Len(k.t, got, 1)
	list, _ := got["sessions"].([]any)
	require.NotNil(k.t, got["sessions"], "an empty list is no null")
	for _, view := range list {
		members, _ := view.(object)
		views = append(views, members)
	}
	return views
}

func TestSessions(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		ada := k.Account("ada")
		assert.Empty(t, k.sessions(ada))
		first, err := k.Server.Issue(t.Context(), ada.ID, grant.Origin{ClientID: "app", UserAgent: "Browser", Address: "192.0.2.1"})
		require.NoError(t, err)
		k.Sleep(time.Minute)
		second := k.Token(ada)
		k.takeEvents()
		at := func(age time.Duration) string { return k.Now().Add(-age).Format(time.RFC3339Nano) }
		expires := func(i int) string { return k.find(ada.ID).Sessions[i].Expires.Format(time.RFC3339Nano) }
		want := []object{
			{"id": first.SessionID, "client_id": "app", "created": at(time.Minute), "last_refreshed": at(time.Minute), "expires": expires(0),
				"user_agent": "Browser", "address": "192.0.2.1", "current": false},
			{"id": second.SessionID, "client_id": "default", "created": at(0), "last_refreshed": at(0), "expires": expires(1), "current": false},
		}
		assert.Equal(t, want, k.sessions(ada))
		own := k.sessions(k.root)
		require.Len(t, own, 1)
		assert.Equal(t, true, own[0]["current"], "that of the caller")
		assert.Empty(t, k.takeEvents())

		k.ok(204, k.call("DELETE", path(ada)+"/sessions/"+first.SessionID, nil))
		event := k.onlyEvent(grant.EventSessionRevoked, ada.ID, "")
		assert.Equal(t, first.SessionID, event.SessionID)
		assert.Equal(t, want[1:], k.sessions(ada))
		assert.Equal(t, 401, k.callAs(first.AccessToken, "GET", "/admin/accounts", nil).status)
		assert.Equal(t, 403, k.callAs(second.AccessToken, "GET", "/admin/accounts", nil).status, "alive")
		k.assertProblem(k.call("DELETE", path(ada)+"/sessions/"+first.SessionID, nil), 404, grant.ProblemNotFound, "")
		assert.Empty(t, k.takeEvents())

		k.Token(ada)
		k.takeEvents()
		for range 2 { // the second time there is none left
			k.ok(204, k.call("DELETE", path(ada)+"/sessions", nil))
			k.onlyEvent(grant.EventSessionRevoked, ada.ID, "all")
			assert.Empty(t, k.sessions(ada))
		}
		assert.Equal(t, 401, k.callAs(second.AccessToken, "GET", "/admin/accounts", nil).status)
		k.ok(204, k.call("DELETE", path(k.root)+"/sessions", nil))
		assert.Equal(t, 401, k.call("GET", "/admin/accounts", nil).status, "the caller may end the own one")
	})
}

func TestTokensForAnAccount(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		service := k.idOf(k.ok(201, k.call("POST", "/admin/accounts", object{"name": "service", "email": "service@example.org", "groups": []string{"admin"}})))
		k.takeEvents()
		account := k.find(service)
		for _, r := range []struct {
			body   object
			client string
		}{
			{object{"client_id": "batch job"}, "batch job"},
			{object{}, "default"},
			{object{"client_id": nil}, "default"},
			{nil, "default"},
			{object{"client_id": "forged\nline"}, "default"},
			{object{"client_id": strings.Repeat("x", 300)}, "default"},
		} {
			got := k.call("POST", path(account)+"/tokens", r.body)
			issued := k.ok(200, got)
			assert.Len(t, issued, 4)
			assert.Equal(t, "Bearer", issued["token_type"])
			assert.EqualValues(t, 900, issued["expires_in"])
			assert.Equal(t, "no-store", got.header.Get("Cache-Control"))
			access, _ := issued["access_token"].(string)
			refresh, _ := issued["refresh_token"].(string)
			k.ok(200, k.callAs(access, "GET", path(account), nil))

			sessions := k.find(service).Sessions
			session := sessions[len(sessions)-1]
			assert.Equal(t, []any{r.client, "127.0.0.1", userAgent}, []any{session.ClientID, session.Address, session.UserAgent}, "who asked for it")
			events := k.takeEvents()
			require.Len(t, events, 2)
			assert.Equal(t, grant.EventSessionIssued, events[0].Type)
			assert.Equal(t, grant.Origin{ClientID: r.client, Address: "127.0.0.1", UserAgent: userAgent}, events[0].Origin)
			k.assertEvent(events[1], grant.EventTokensIssued, service, "client "+r.client)
			assert.Equal(t, session.ID, events[1].SessionID)
			_, err := k.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: refresh, Origin: grant.Origin{ClientID: r.client}})
			require.NoError(t, err)
			k.takeEvents()
		}
		k.assertProblem(k.call("POST", path(account)+"/tokens", object{"client_id": 1}), 400, grant.ProblemMalformed, "")
		chunked, err := http.NewRequestWithContext(t.Context(), "POST", k.web.URL+path(account)+"/tokens", io.MultiReader(strings.NewReader(`{"client_id":"chunked"}`)))
		require.NoError(t, err)
		chunked.Header = http.Header{"Authorization": {"Bearer " + k.token}, "Content-Type": {jsonType}}
		response, err := http.DefaultTransport.RoundTrip(chunked)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		assert.Equal(t, 200, response.StatusCode)
		sessions := k.find(service).Sessions
		assert.Equal(t, "chunked", sessions[len(sessions)-1].ClientID, "a body of a length that is not announced is read too")
		k.takeEvents()

		require.NoError(t, k.Accounts.Disable(t.Context(), service))
		k.assertProblem(k.call("POST", path(account)+"/tokens", object{}), 409, grant.ProblemDisabled, "")
		assert.Empty(t, k.find(service).Sessions)
		events := k.takeEvents()
		require.Len(t, events, 1)
		assert.Equal(t, grant.EventIssueFailed, events[0].Type)
	})
}

// TestTokensForAClient has a list of clients.
func TestTokensForAClient(t *testing.T) {
	clients, err := grant.NewClients(grant.Client{ID: "console"}, grant.Client{ID: "batch", AccessTTL: time.Minute})
	require.NoError(t, err)
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) { c.Clients = clients }}, admin.Config{})
	issued := k.ok(200, k.call("POST", path(k.root)+"/tokens", object{"client_id": "batch"}))
	assert.EqualValues(t, 60, issued["expires_in"], "the client's")
	for _, unknown := range []object{{"client_id": "other"}, {"client_id": ""}, {}} {
		k.takeEvents()
		k.assertProblem(k.call("POST", path(k.root)+"/tokens", unknown), 422, grant.ProblemRefusedValue, "client_id")
		assert.Empty(t, k.takeEvents())
	}
}

// interposed is a backend that does something before each Update, once it is set.
type interposed struct {
	store.Backend
	before func()
}

func (b *interposed) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	if before := b.before; before != nil {
		b.before = nil
		before()
	}
	return b.Backend.Update(ctx, id, change)
}

// TestTokensWhileThePasswordChanges checks that nobody is told of a wrong password who gave none.
func TestTokensWhileThePasswordChanges(t *testing.T) {
	backend := &interposed{Backend: memstore.New()}
	k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
	ada := k.Account("ada")
	backend.before = func() {
		changed := newPassword
		_, err := k.Accounts.Change(t.Context(), ada.ID, store.Changes{Password: &changed})
		assert.NoError(t, err)
	}
	k.ok(200, k.call("POST", path(ada)+"/tokens", nil))
	assert.Equal(t, 200, k.logIn("ada", newPassword))
}

// TestUnblock checks that a user who is locked out can log in at once.
func TestUnblock(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		ada := k.Account("ada")
		for _, username := range []string{"ada", "ada@example.org"} {
			for range 10 {
				require.Equal(t, 400, k.logIn(username, "wrong"))
			}
			require.Equal(t, 429, k.logIn(username, password))
		}
		k.ok(204, k.call("POST", path(ada)+"/unblock", nil))
		k.onlyEvent(grant.EventAccountUnblocked, ada.ID, "")
		assert.Equal(t, 200, k.logIn("ada", password))
		assert.Equal(t, 200, k.logIn("ada@example.org", password))
	})
}
