package admin_test

import (
	"fmt"
	"net/url"
	"slices"
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
)

// TestLifeOfAnAccount makes an account, shows it, changes it and removes it, over every store.
func TestLifeOfAnAccount(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		created := k.ok(201, k.call("POST", "/admin/accounts", object{
			"name": "Ada", "email": "Ada@example.org", "phone": "+1 234", "password": password,
			"groups": []string{"writers", "editors", "editors"}, "unknown": 1,
		}))
		id := k.idOf(created)
		k.assertAccount(created, id)
		assert.Equal(t, "ada", created["name"])
		assert.Equal(t, "Ada@example.org", created["email"])
		assert.Equal(t, "+1 234", created["phone"])
		assert.Equal(t, []any{"editors", "writers"}, created["groups"])
		assert.Equal(t, false, created["disabled"])
		assert.Equal(t, k.Now().Format(time.RFC3339Nano), created["created"])
		k.onlyEvent(grant.EventAccountCreated, id, "editors, writers")
		require.Equal(t, 200, k.logIn("ada", password))

		ada := k.find(id)
		shown := k.call("GET", path(ada), nil)
		assert.NotContains(t, shown.body, ada.PasswordHash)
		assert.NotContains(t, shown.body, ada.Sessions[0].ID)
		k.assertAccount(k.ok(200, shown), id)

		k.Sleep(time.Minute)
		changed := k.ok(200, k.call("PATCH", path(ada), object{"name": "grace", "email": "grace@example.org", "phone": "2", "password": newPassword, "disabled": true}))
		k.assertAccount(changed, id)
		assert.Equal(t, "grace", changed["name"])
		assert.Equal(t, k.Now().Format(time.RFC3339Nano), changed["modified"])
		k.onlyEvent(grant.EventAccountChanged, id, "name, email, phone, password, disabled")
		assert.Equal(t, 400, k.logIn("grace", newPassword), "disabled")
		k.ok(200, k.call("PATCH", path(ada), object{"disabled": false}))
		assert.Equal(t, 200, k.logIn("grace", newPassword))

		k.ok(204, k.call("DELETE", path(ada), nil))
		k.onlyEvent(grant.EventAccountRemoved, id, "")
		k.assertProblem(k.call("GET", path(ada), nil), 404, grant.ProblemNotFound, "")
		k.assertProblem(k.call("DELETE", path(ada), nil), 404, grant.ProblemNotFound, "")
		assert.Empty(t, k.takeEvents())
	})
}

// TestAccountWithoutPassword cannot log in until it gets one.
func TestAccountWithoutPassword(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	for i, body := range []object{
		{"name": "a0", "email": "a0@example.org"},
		{"name": "a1", "email": "a1@example.org", "phone": nil, "password": nil, "groups": nil},
	} {
		created := k.ok(201, k.call("POST", "/admin/accounts", body))
		id := k.idOf(created)
		k.assertAccount(created, id)
		assert.Equal(t, []any{}, created["groups"])
		k.onlyEvent(grant.EventAccountCreated, id, "")
		name := fmt.Sprint("a", i)
		assert.Equal(t, 400, k.logIn(name, password))
		k.ok(200, k.call("PATCH", path(k.find(id)), object{"password": password}))
		k.onlyEvent(grant.EventAccountChanged, id, "password")
		assert.Equal(t, 200, k.logIn(name, password))
	}
}

// refusedPasswords are the reasons to refuse a password of the account "ada".
var refusedPasswords = map[string]store.PasswordReason{
	"":                            store.PasswordTooShort,
	"short":                       store.PasswordTooShort,
	strings.Repeat("long ", 60):   store.PasswordTooLong,
	strings.Repeat("long ", 9000): store.PasswordTooLong,
	"passwordpassword":            store.PasswordCommon,
	"adaadaadaada@example.org":    store.PasswordPersonal,
}

func TestCreateRefuses(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	body := func(name string, value any) object {
		members := object{"name": "ada", "email": "adaadaadaada@example.org"}
		members[name] = value
		return members
	}
	for _, r := range []struct {
		member string
		value  any
		status int
		kind   grant.ProblemType
		field  string
	}{
		{"name", nil, 400, grant.ProblemMalformed, "name"},
		{"email", nil, 400, grant.ProblemMalformed, "email"},
		{"name", 1, 400, grant.ProblemMalformed, ""},
		{"groups", "editors", 400, grant.ProblemMalformed, ""},
		{"password", false, 400, grant.ProblemMalformed, ""},
		{"name", "", 422, grant.ProblemRefusedValue, "name"},
		{"name", "a@b", 422, grant.ProblemRefusedValue, "name"},
		{"email", "ada", 422, grant.ProblemRefusedValue, "email"},
		{"phone", "?", 422, grant.ProblemRefusedValue, "phone"},
		{"groups", []string{"editors", "a b"}, 422, grant.ProblemRefusedValue, "group"},
		{"name", "ROOT", 409, grant.ProblemTaken, "name"},
		{"email", "Root@Example.org", 409, grant.ProblemTaken, "email"},
	} {
		problem := k.assertProblem(k.call("POST", "/admin/accounts", body(r.member, r.value)), r.status, r.kind, r.field)
		assert.NotContains(t, problem, "reason")
	}
	for refused, reason := range refusedPasswords {
		problem := k.assertProblem(k.call("POST", "/admin/accounts", body("password", refused)), 422, grant.ProblemRefusedValue, "password")
		assert.Equal(t, string(reason), problem["reason"], "%.20q", refused)
	}
	for _, missing := range []string{"name", "email"} {
		members := body("phone", "1")
		delete(members, missing)
		k.assertProblem(k.call("POST", "/admin/accounts", members), 400, grant.ProblemMalformed, missing)
	}
	assert.Empty(t, k.takeEvents())
	assert.Len(t, k.names(""), 1, "nothing was made")
}

// TestBodiesAreObjects checks every endpoint that reads a body.
func TestBodiesAreObjects(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	for _, row := range rows {
		if row.body == nil {
			continue
		}
		method, path := request(row.pattern, k.root.ID.Hex())
		send := func(contentType, body string) answer {
			return k.send(method, path, body, "Authorization", "Bearer "+k.token, "Content-Type", contentType)
		}
		for _, body := range []string{"null", "[]", "{", "x", `{"name":"a","name":"b"}`, "{}{}", "{\"x\":\"\xff\"}"} {
			k.assertProblem(send(jsonType, body), 400, grant.ProblemMalformed, "")
		}
		k.assertProblem(send("text/plain", "{}"), 400, grant.ProblemMalformed, "")
		k.assertProblem(send(jsonType, `{"x":"`+strings.Repeat("x", 64<<10)+`"}`), 413, grant.ProblemRefusedRequest, "")
	}
	assert.Empty(t, k.takeEvents())
}

// names returns the names of all accounts that a query lists, page by page.
func (k *kit) names(query string) (names []string) {
	k.t.Helper()
	for after := ""; ; {
		got := k.ok(200, k.call("GET", "/admin/accounts?"+query+after, nil))
		accounts, _ := got["accounts"].([]any)
		require.NotNil(k.t, got["accounts"], "an empty list is no null")
		for _, account := range accounts {
			members, _ := account.(object)
			name, _ := members["name"].(string)
			names = append(names, name)
			k.assertAccount(members, k.idOf(members))
		}
		next, more := got["next"].(string)
		if !more {
			assert.NotContains(k.t, got, "next")
			return names
		}
		assert.NotEmpty(k.t, accounts)
		after = "&after=" + url.QueryEscape(next)
	}
}

func TestList(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{})
		all := []string{"root"}
		for i := range 7 {
			groups := []string{"odd", "even"}[1-i%2 : 2-i%2]
			name := fmt.Sprintf("n%d", (i*5)%7)
			k.ok(201, k.call("POST", "/admin/accounts", object{"name": name, "email": fmt.Sprintf("M%d@example.org", 6-i), "groups": groups}))
			all = append(all, name)
		}
		k.takeEvents()
		byName := slices.Sorted(slices.Values(all[1:]))
		byEmail := slices.Clone(all[1:])
		slices.Reverse(byEmail)
		for query, want := range map[string][]string{
			"":                             all,
			"limit=1000":                   all,
			"limit=":                       all,
			"limit=3":                      all,
			"limit=1":                      all,
			"limit=8":                      all,
			"prefix=N&limit=3":             byName,
			"prefix=n":                     byName,
			"prefix=n3":                    {"n3"},
			"prefix=n3%40":                 nil,
			"prefix=m1%40":                 {all[6]},
			"prefix=M1%40EXAMPLE":          {all[6]},
			"prefix=x":                     nil,
			"prefix=%25":                   nil,
			"prefix=.*":                    nil,
			"group=even&limit=2":           {all[1], all[3], all[5], all[7]},
			"group=odd":                    {all[2], all[4], all[6]},
			"group=od":                     nil,
			"group=ODD":                    nil,
			"group=%ff":                    nil,
			"prefix=%ff%00":                nil,
			"unknown=1&prefix=n&limit=100": byName,
		} {
			assert.Equal(t, want, k.names(query), query)
		}
		assert.Len(t, byEmail, 7)
		for query, field := range map[string]string{
			"limit=0": "limit", "limit=-1": "limit", "limit=1001": "limit", "after=x": "after", "after=%ff": "after", "after=eHg": "after", "prefix=a&group=b": "group",
		} {
			k.assertProblem(k.call("GET", "/admin/accounts?"+query, nil), 422, grant.ProblemRefusedValue, field)
		}
		for _, limit := range []string{"x", "1.5", "1e2", "99999999999999999999"} {
			k.assertProblem(k.call("GET", "/admin/accounts?limit="+limit, nil), 400, grant.ProblemMalformed, "limit")
		}
		k.assertProblem(k.call("GET", "/admin/accounts?prefix=%zz", nil), 400, grant.ProblemMalformed, "")
		assert.Empty(t, k.takeEvents(), "who only looks changes nothing")
	})
}

// TestDefaultPage has 100 accounts.
func TestDefaultPage(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{})
	for i := range 100 {
		k.Account(fmt.Sprint("a", i))
	}
	got := k.ok(200, k.call("GET", "/admin/accounts", nil))
	assert.Len(t, got["accounts"], 100)
	assert.NotEmpty(t, got["next"])
	assert.Len(t, k.names(""), 101)
}
