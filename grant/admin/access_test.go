package admin_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"path/filepath"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// rows are the endpoints of the contract, each with a body that it accepts.
var rows = []struct {
	pattern string
	body    object
}{
	{"GET /admin/accounts", nil},
	{"POST /admin/accounts", object{"name": "x", "email": "x@example.org"}},
	{"GET /admin/accounts/{id}", nil},
	{"PATCH /admin/accounts/{id}", object{}},
	{"DELETE /admin/accounts/{id}", nil},
	{"PUT /admin/accounts/{id}/groups/{group}", nil},
	{"DELETE /admin/accounts/{id}/groups/{group}", nil},
	{"GET /admin/accounts/{id}/sessions", nil},
	{"DELETE /admin/accounts/{id}/sessions", nil},
	{"DELETE /admin/accounts/{id}/sessions/{session}", nil},
	{"POST /admin/accounts/{id}/tokens", object{}},
	{"POST /admin/accounts/{id}/unblock", nil},
	{"GET /admin/backup", nil},
}

// request returns the method and the path of a row for an account.
func request(pattern, id string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	return method, strings.NewReplacer("{id}", id, "{group}", "editors", "{session}", "none").Replace(path)
}

func TestEndpointsAreThoseOfTheContract(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	var want, got []string
	for _, row := range rows {
		want = append(want, row.pattern)
	}
	for _, endpoint := range k.handlers.Endpoints() {
		got = append(got, endpoint.Pattern())
	}
	assert.Equal(t, want, got)
}

func TestConfigurationErrorNamesEachField(t *testing.T) {
	_, err := admin.New(admin.Config{})
	assert.ErrorContains(t, err, "Server")
	assert.ErrorContains(t, err, "Auth")
}

// TestOnlyTheGroupIsLetIn checks that each endpoint refuses callers as any protected resource
// does, and changes nothing.
func TestOnlyTheGroupIsLetIn(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	ada := k.Account("ada", "editors")
	disabled := k.Account("disabled", store.AdminGroup)
	ofDisabled := k.bearer(disabled)
	require.NoError(t, k.Accounts.Disable(t.Context(), disabled.ID))
	for _, row := range rows {
		method, path := request(row.pattern, ada.ID.Hex())
		before := k.find(ada.ID)
		for name, caller := range map[string]struct {
			token     string
			status    int
			challenge string
		}{
			"no token":         {"", 401, `Bearer realm="`},
			"a bad token":      {"x", 401, `error="invalid_token"`},
			"a refresh token":  {k.Token(k.root).RefreshToken, 401, `error="invalid_token"`},
			"a disabled admin": {ofDisabled, 401, `error="invalid_token"`},
			"no admin":         {k.bearer(k.Account("c"+store.NewID().Hex(), "Admin", "admins")), 403, `error="insufficient_scope"`},
		} {
			k.takeEvents()
			got := k.callAs(caller.token, method, path, row.body)
			assert.Equal(t, caller.status, got.status, "%s: %s", row.pattern, name)
			challenge := got.header.Get("WWW-Authenticate")
			assert.Contains(t, challenge, caller.challenge, "%s: %s", row.pattern, name)
			assert.Equal(t, caller.token == "", !strings.Contains(challenge, "error="))
		}
		assert.Equal(t, before, k.find(ada.ID))
		assert.Empty(t, k.takeEvents())
	}
	_, err := k.Accounts.FindByName(t.Context(), "x")
	assert.ErrorIs(t, err, store.ErrNotFound)
}

// TestAnotherGroup checks that Config.Group replaces the group of administrators.
func TestAnotherGroup(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{Group: "staff"})
	member := k.Account("member", "staff")
	token := k.bearer(member)
	for _, row := range rows {
		account := k.Account("a" + store.NewID().Hex())
		method, path := request(row.pattern, account.ID.Hex())
		assert.Equal(t, 403, k.call(method, path, row.body).status, "%s: only in the group admin", row.pattern)
		got := k.callAs(token, method, path, row.body)
		assert.NotContains(t, []int{401, 403}, got.status, row.pattern)
	}
	k.ok(204, k.callAs(token, "DELETE", path(member)+"/groups/staff", nil))
	assert.Equal(t, 403, k.callAs(token, "GET", "/admin/accounts", nil).status, "the next request sees it")
}

func TestUnknownAndMalformedIDsAreNotFound(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	ada := k.Account("ada")
	for _, row := range rows {
		if !strings.Contains(row.pattern, "{id}") {
			continue
		}
		for _, id := range []string{
			store.NewID().Hex(), strings.Repeat("0", 24), "ada", "x", strings.ToUpper(k.root.ID.Hex()), k.root.ID.Hex() + "00", "%00", "%ff", "..%2f",
			strings.Repeat("a", 5000),
		} {
			method, path := request(row.pattern, id)
			k.assertProblem(k.call(method, path, row.body), 404, grant.ProblemNotFound, "")
		}
	}
	for _, session := range []string{"none", k.Token(k.root).SessionID, "%00", strings.Repeat("a", 5000)} {
		k.takeEvents()
		k.assertProblem(k.call("DELETE", path(ada)+"/sessions/"+session, nil), 404, grant.ProblemNotFound, "")
	}
	events := k.takeEvents()
	for _, event := range events {
		assert.Equal(t, grant.EventIssueFailed, event.Type, "nothing was changed")
	}
}

func TestWrongMethods(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	for path, allowed := range map[string]string{
		"/admin/accounts":        "GET, HEAD, POST",
		path(k.root):             "DELETE, GET, HEAD, PATCH",
		path(k.root) + "/tokens": "POST",
		"/admin/backup":          "GET, HEAD",
	} {
		got := k.send("TRACE", path, "", "Authorization", "Bearer "+k.token)
		assert.Equal(t, 405, got.status)
		assert.Equal(t, allowed, got.header.Get("Allow"))
	}
}

// TestOutage checks that an outage is never taken for another answer: neither by the check of
// the token, nor after it.
func TestOutage(t *testing.T) {
	for name, cache := range map[string]time.Duration{"the token": 0, "the work": time.Minute} {
		t.Run(name, func(t *testing.T) {
			backend, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Config{})
			require.NoError(t, err)
			k := newKit(t, middlewaretest.Config{Backend: backend, Store: func(c *store.Config) { c.CacheTTL = cache }}, admin.Config{Backup: backend})
			ada := k.Account("ada")
			k.ok(200, k.call("GET", path(ada), nil))
			require.NoError(t, backend.Close())
			for _, row := range rows {
				method, path := request(row.pattern, ada.ID.Hex())
				got := k.call(method, path, row.body)
				if cache == 0 {
					assert.Equal(t, http.StatusServiceUnavailable, got.status)
					assert.NotEmpty(t, got.header.Get("Retry-After"))
					continue
				}
				k.assertProblem(got, 503, grant.ProblemUnavailable, "")
			}
			for _, event := range k.takeEvents() {
				assert.Contains(t, []grant.EventType{grant.EventIssueFailed, grant.EventBackupFailed}, event.Type)
			}
		})
	}
}
