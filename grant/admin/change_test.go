package admin_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

// TestEachFieldAlone changes one field and leaves all others as they are.
func TestEachFieldAlone(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		ada := k.Account("ada", "editors")
		k.Sleep(time.Minute)
		for _, change := range []struct {
			field string
			value any
			want  any
		}{
			{"name", "Grace", "grace"},
			{"email", "Grace@example.org", "Grace@example.org"},
			{"phone", "(1) 2", "(1) 2"},
			{"phone", "", nil},
			{"disabled", true, true},
			{"disabled", false, false},
		} {
			before := k.ok(200, k.call("GET", path(ada), nil))
			changed := k.ok(200, k.call("PATCH", path(ada), object{change.field: change.value}))
			k.assertAccount(changed, ada.ID)
			assert.Equal(t, change.want, changed[change.field])
			k.onlyEvent(grant.EventAccountChanged, ada.ID, change.field)
			for _, members := range []object{before, changed} {
				delete(members, change.field)
				delete(members, "modified")
			}
			assert.Equal(t, before, changed)
		}
		for name, status := range map[string]int{"grace": 200, "grace@example.org": 200, "ada": 400, "ada@example.org": 400} {
			assert.Equal(t, status, k.logIn(name, password), name)
		}
	})
}

func TestPatchRefuses(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	ada := k.ok(201, k.call("POST", "/admin/accounts", object{"name": "ada", "email": "adaadaadaada@example.org", "phone": "1", "password": password}))
	id := k.idOf(ada)
	k.takeEvents()
	for _, r := range []struct {
		body   object
		status int
		kind   grant.ProblemType
		field  string
	}{
		{object{"name": "Root"}, 409, grant.ProblemTaken, "name"},
		{object{"email": "ROOT@example.org"}, 409, grant.ProblemTaken, "email"},
		{object{"name": "root", "email": "root@example.org"}, 409, grant.ProblemTaken, "name"},
		{object{"name": "root", "password": newPassword, "disabled": true}, 409, grant.ProblemTaken, "name"},
		{object{"name": ""}, 422, grant.ProblemRefusedValue, "name"},
		{object{"email": ""}, 422, grant.ProblemRefusedValue, "email"},
		{object{"phone": "x?"}, 422, grant.ProblemRefusedValue, "phone"},
		{object{"disabled": true, "phone": "x?"}, 422, grant.ProblemRefusedValue, "phone"},
		{object{"name": "grace", "disabled": "yes"}, 400, grant.ProblemMalformed, ""},
		{object{"password": 1}, 400, grant.ProblemMalformed, ""},
	} {
		problem := k.assertProblem(k.call("PATCH", path(k.find(id)), r.body), r.status, r.kind, r.field)
		assert.NotContains(t, problem, "reason")
	}
	for refused, reason := range refusedPasswords {
		problem := k.assertProblem(k.call("PATCH", path(k.find(id)), object{"name": "ada", "password": refused, "disabled": true}), 422, grant.ProblemRefusedValue, "password")
		assert.Equal(t, string(reason), problem["reason"], "%.20q", refused)
	}
	problem := k.assertProblem(k.call("PATCH", path(k.find(id)), object{"name": "newlanternsname", "password": "NewLanternsName"}), 422, grant.ProblemRefusedValue, "password")
	assert.Equal(t, string(store.PasswordPersonal), problem["reason"], "of the new name")
	assert.Empty(t, k.takeEvents())
	assert.Equal(t, ada, k.ok(200, k.call("GET", path(k.find(id)), nil)), "nothing was changed")
	assert.Equal(t, 200, k.logIn("ada", password))
}

// TestNothingToChange checks that an empty PATCH, and one of nulls, changes nothing and is no
// event. Null does not clear the phone: an empty text does.
func TestNothingToChange(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	ada := k.idOf(k.ok(201, k.call("POST", "/admin/accounts", object{"name": "ada", "email": "ada@example.org", "phone": "1"})))
	k.takeEvents()
	before := k.find(ada)
	k.Sleep(time.Minute)
	for _, body := range []object{{}, {"name": nil, "email": nil, "phone": nil, "password": nil, "disabled": nil}, {"Name": "grace", "groups": []string{"admin"}}} {
		k.assertAccount(k.ok(200, k.call("PATCH", path(before), body)), ada)
		assert.Equal(t, before, k.find(ada))
		assert.Empty(t, k.takeEvents())
	}
}

// TestDisabledAtOnce checks that the sessions of an account end with the answer to the request
// that disables it, or that gives it a new password.
func TestDisabledAtOnce(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		second := k.Account("second", store.AdminGroup)
		for _, change := range []object{{"disabled": true}, {"disabled": false, "password": newPassword}} {
			var tokens []*grant.Response
			if !k.find(second.ID).Disabled {
				tokens = []*grant.Response{k.Token(second), k.Token(second)}
				k.ok(200, k.callAs(tokens[0].AccessToken, "GET", path(second), nil))
			}
			k.ok(200, k.call("PATCH", path(second), change))
			assert.Empty(t, k.find(second.ID).Sessions)
			for _, pair := range tokens {
				assert.Equal(t, 401, k.callAs(pair.AccessToken, "GET", path(second), nil).status)
				_, err := k.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: pair.RefreshToken})
				assert.Error(t, err)
			}
		}
		pair := k.Token(second)
		k.ok(200, k.call("PATCH", path(second), object{"password": password}))
		assert.Equal(t, 401, k.callAs(pair.AccessToken, "GET", path(second), nil).status)
		assert.Equal(t, 200, k.logIn("second", password))
	})
}

// TestGroupsAreSeenByTheNextRequest also checks that a change that is made already succeeds.
func TestGroupsAreSeenByTheNextRequest(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		ada := k.Account("ada")
		token := k.bearer(ada)
		for range 2 {
			assert.Equal(t, 403, k.callAs(token, "GET", path(ada), nil).status)
			for range 2 {
				k.ok(204, k.call("PUT", path(ada)+"/groups/admin", nil))
				k.onlyEvent(grant.EventGroupAdded, ada.ID, "admin")
				k.assertAccount(k.ok(200, k.callAs(token, "GET", path(ada), nil)), ada.ID)
			}
			for range 2 {
				k.ok(204, k.call("DELETE", path(ada)+"/groups/admin", nil))
				k.onlyEvent(grant.EventGroupRemoved, ada.ID, "admin")
			}
		}
		assert.Empty(t, k.find(ada.ID).Groups)
	})
}

// TestMalformedGroups checks also that the text of a path cannot forge a line of a log.
func TestMalformedGroups(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	ada := k.Account("ada", "editors")
	for _, group := range []string{"a%20b", "%0aadmin", "%ff", "%C3%A9", "a%2Fb", "%00", strings.Repeat("x", 65)} {
		k.assertProblem(k.call("PUT", path(ada)+"/groups/"+group, nil), 422, grant.ProblemRefusedValue, "group")
		assert.Empty(t, k.takeEvents())
		k.ok(204, k.call("DELETE", path(ada)+"/groups/"+group, nil))
		for _, event := range k.takeEvents() {
			assert.NotContains(t, event.Reason, "\n")
			assert.NotContains(t, event.Reason, "\x00")
			assert.NotContains(t, event.Reason, "\xff")
		}
	}
	assert.Equal(t, ada, k.find(ada.ID))
}

// endings are the ways to lose an administrator.
var endings = []struct {
	name   string
	status int
	end    func(k *kit, token string, account *store.Account) answer
}{
	{"remove", 204, func(k *kit, token string, a *store.Account) answer { return k.callAs(token, "DELETE", path(a), nil) }},
	{"disable", 200, func(k *kit, token string, a *store.Account) answer {
		return k.callAs(token, "PATCH", path(a), object{"disabled": true})
	}},
	{"take out", 204, func(k *kit, token string, a *store.Account) answer {
		return k.callAs(token, "DELETE", path(a)+"/groups/admin", nil)
	}},
}

// TestLastAdministratorStays checks also that a disabled administrator is no help.
func TestLastAdministratorStays(t *testing.T) {
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
				k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
				last := func() {
					t.Helper()
					before := k.find(k.root.ID)
					k.assertProblem(ending.end(k, k.token, k.root), 409, grant.ProblemLastAdmin, "")
					assert.Equal(t, before, k.find(k.root.ID))
					assert.Empty(t, k.takeEvents())
				}
				k.ok(200, k.call("GET", path(k.root), nil))
				last()
				second := k.Account("second", store.AdminGroup)
				require.NoError(t, k.Accounts.Disable(t.Context(), second.ID))
				last()
				k.ok(200, k.call("PATCH", path(k.root), object{"name": "boss", "disabled": false}))
				k.takeEvents()
				k.ok(ending.status, ending.end(k, k.token, second))
				k.takeEvents()
				last()

				third := k.Account("third", store.AdminGroup)
				k.ok(ending.status, ending.end(k, k.token, k.root))
				assert.Len(t, k.takeEvents(), 1, "with another one, even the caller may go")
				k.root = third
			})
		})
	}
}

// TestAdministratorsEndEachOther has two administrators end each other at the same moment.
// Both may succeed, and neither gets the answer of a broken server.
//
// A round takes a few milliseconds.
func TestAdministratorsEndEachOther(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		pair := []*store.Account{k.Account("first", store.AdminGroup), k.Account("second", store.AdminGroup)}
		require.NoError(t, k.Accounts.RemoveFromGroup(t.Context(), k.root.ID, store.AdminGroup))
		for round := range 12 {
			ending := endings[round%len(endings)]
			tokens := []string{k.bearer(pair[0]), k.bearer(pair[1])}
			answers := make([]answer, 2)
			begin := make(chan struct{})
			var all sync.WaitGroup
			for i := range pair {
				all.Go(func() {
					<-begin
					answers[i] = ending.end(k, tokens[i], pair[1-i])
				})
			}
			close(begin)
			all.Wait()
			succeeded := 0
			for i, got := range answers {
				// 409 and 404 come after the check of the token, 401 and 403 are the check.
				assert.Contains(t, []int{ending.status, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict}, got.status, got.body)
				if got.status == ending.status {
					succeeded++
				}
				if _, err := k.Accounts.FindByID(t.Context(), pair[i].ID); err != nil {
					pair[i] = k.Account("new"+store.NewID().Hex(), store.AdminGroup)
				}
				require.NoError(t, k.Accounts.AddToGroup(t.Context(), pair[i].ID, store.AdminGroup))
				require.NoError(t, k.Accounts.Enable(t.Context(), pair[i].ID))
			}
			assert.Positive(t, succeeded, "%v", answers)
			assert.Len(t, k.takeEvents(), succeeded)
		}
	})
}
