package selfservice_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// requests are good requests to all endpoints that read a body, and the members that each
// requires.
var requests = []struct {
	method, path string
	bearer       bool
	members      object
	required     []string
}{
	{"POST", "/accounts", false, object{"name": "x", "email": "x@example.org", "phone": "1"}, []string{"name", "email"}},
	{"POST", "/accounts/confirm", false, object{"code": "x", "password": newPassword, "name": "x"}, []string{"code", "password"}},
	{"POST", "/password-reset", false, object{"email": "x@example.org"}, []string{"email"}},
	{"POST", "/password-reset/confirm", false, object{"code": "x", "password": newPassword}, []string{"code", "password"}},
	{"PUT", "/me/password", true, object{"current_password": "x", "new_password": newPassword}, []string{"current_password", "new_password"}},
	{"PUT", "/me/email", true, object{"email": "x@example.org", "current_password": "x"}, []string{"email", "current_password"}},
	{"POST", "/me/email/confirm", true, object{"code": "x"}, []string{"code"}},
	{"PATCH", "/me", true, object{"name": "x", "phone": "1"}, nil},
	{"DELETE", "/me", true, object{"current_password": "x"}, []string{"current_password"}},
}

func TestMalformedBodies(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	token := k.bearer(k.account)
	for _, r := range requests {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			send := func(body string, headers ...string) answer {
				if r.bearer {
					headers = append(headers, "Authorization", "Bearer "+token)
				}
				return k.send(r.method, r.path, body, headers...)
			}
			for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/problem+json", "json", "application/json, text/plain"} {
				k.assertProblem(send("{}", "Content-Type", contentType), 400, grant.ProblemMalformed, "")
			}
			for _, body := range []string{
				"", "x", "null", "[]", "[{}]", `"x"`, "1", "true", "{", "{}{}", "{} x", "{,}", `{"a":1,"a":2}`, `{"x":{"a":1,"a":2}}`,
				"{\"x\":\"\xff\"}", "\ufeff{}", `{"x":"\ud800"}`, strings.Repeat(`{"x":`, 12_000),
			} {
				k.assertProblem(send(body, "Content-Type", jsonType), 400, grant.ProblemMalformed, "")
			}
			large := `{"x":"` + strings.Repeat("x", 64<<10) + `"}`
			k.assertProblem(send(large, "Content-Type", jsonType), 413, grant.ProblemRefusedRequest, "")
			k.assertProblem(send("{}", "Content-Type", jsonType, "Content-Encoding", "gzip"), 415, grant.ProblemRefusedRequest, "")
			for name := range r.members {
				for _, wrong := range []any{1, true, []any{"x"}, object{}} {
					k.assertProblem(k.call(r.method, r.path, tokenFor(r.bearer, token), with(r.members, name, wrong)), 400, grant.ProblemMalformed, "")
				}
			}
			for _, name := range r.required {
				missing := with(r.members, name, "")
				delete(missing, name)
				k.assertProblem(k.call(r.method, r.path, tokenFor(r.bearer, token), missing), 400, grant.ProblemMalformed, name)
				missing[strings.ToUpper(name)] = "x"
				k.assertProblem(k.call(r.method, r.path, tokenFor(r.bearer, token), missing), 400, grant.ProblemMalformed, name)
				k.assertProblem(k.call(r.method, r.path, tokenFor(r.bearer, token), with(r.members, name, nil)), 400, grant.ProblemMalformed, name)
			}
		})
	}
	assert.Empty(t, k.takeEvents())
	assert.Empty(t, k.deliver(t))
}

func tokenFor(bearer bool, token string) string {
	if bearer {
		return token
	}
	return ""
}

// with returns a copy of the members with another value.
func with(members object, name string, value any) object {
	changed := object{name: value}
	for other, value := range members {
		if other != name {
			changed[other] = value
		}
	}
	return changed
}

func TestRefusedValues(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Store: func(c *store.Config) {
		c.PasswordPolicy.Refuse = func(_ context.Context, password string) error {
			switch {
			case strings.Contains(password, "stolen"):
				return errors.New("is on a list of stolen passwords \xff")
			case strings.Contains(password, "outage"):
				return store.ErrUnavailable
			}
			return nil
		}
	}})
	token := k.bearer(k.account)
	for _, r := range []struct {
		path, field string
		body        object
	}{
		{"/accounts", "name", object{"name": "a b", "email": "x@example.org"}},
		{"/accounts", "email", object{"name": "x", "email": "x"}},
		{"/accounts", "phone", object{"name": "x", "email": "x@example.org", "phone": "?"}},
		{"/password-reset", "email", object{"email": ""}},
	} {
		k.assertProblem(k.call("POST", r.path, "", r.body), 422, grant.ProblemRefusedValue, r.field)
	}
	k.assertProblem(k.call("PUT", "/me/email", token, object{"email": "@", "current_password": password}), 422, grant.ProblemRefusedValue, "email")

	require.Equal(t, 202, k.call("POST", "/accounts", "", object{"name": "grace", "email": "grace@example.org"}).status)
	registration := k.code(t, store.MailRegistration)
	require.Equal(t, 202, k.call("POST", "/password-reset", "", object{"email": "ada@example.org"}).status)
	reset := k.code(t, store.MailPasswordReset)
	calls := map[string]func(password string) answer{
		"registration": func(p string) answer {
			return k.call("POST", "/accounts/confirm", "", object{"code": registration, "password": p, "name": "ada"})
		},
		"reset": func(p string) answer {
			return k.call("POST", "/password-reset/confirm", "", object{"code": reset, "password": p})
		},
		"change": func(p string) answer {
			return k.call("PUT", "/me/password", token, object{"current_password": password, "new_password": p})
		},
	}
	for name, call := range calls {
		for refused, reason := range map[string]string{
			"": "too_short", "brief": "too_short", strings.Repeat("nine kettles ", 50): "too_long", strings.Repeat("nine kettles ", 200): "too_long",
			"passwordpassword": "common", "ada@example.org-77": "personal", "some-stolen-password-x": "refused",
		} {
			got := call(refused)
			if name == "registration" && reason == "personal" {
				continue // the e-mail is another one
			}
			field := "password"
			if name == "change" {
				field = "new_password"
			}
			k.assertProblem(got, 422, grant.ProblemRefusedValue, field)
			assert.Equal(t, reason, got.json(t)["reason"], name)
			if refused != "" {
				assert.NotContains(t, got.body, refused)
			}
		}
		k.assertProblem(call("an-outage-of-the-list"), 503, grant.ProblemUnavailable, "")
	}
	assert.Equal(t, 204, calls["reset"](newPassword).status, "the code stayed good")
}

// TestNothingTellsWhetherAnAddressIsKnown compares status, headers and body to the byte, also
// of the answer after too many mails.
func TestNothingTellsWhetherAnAddressIsKnown(t *testing.T) {
	for _, path := range []string{"/accounts", "/password-reset", "/me/email"} {
		k := newKit(t, middlewaretest.Config{Store: func(c *store.Config) { c.Codes = store.Codes{MailsFrom: -1} }})
		disabled := k.Account("off")
		require.NoError(t, k.Accounts.Disable(t.Context(), disabled.ID))
		me := k.Account("me")
		token, method := "", "POST"
		if path == "/me/email" {
			token, method = k.bearer(me), "PUT"
		}
		want := make([]answer, 4)
		for _, address := range []string{"ada@example.org", "nobody@example.org", "off@example.org", "me@example.org", "x@nowhere.invalid"} {
			for i := range want {
				got := k.call(method, path, token, object{"name": "x", "email": address, "current_password": password})
				got.header.Del("Date")
				if want[i].status == 0 {
					want[i] = got
				}
				assert.Equal(t, want[i], got, "%s %s", path, address)
				if i == 3 {
					k.assertProblem(got, 429, grant.ProblemThrottled, "")
					assert.Equal(t, "3600", got.header.Get("Retry-After"))
					k.onlyEvent(grant.EventMailThrottled, idOf(token, me))
				} else {
					assert.Equal(t, 202, got.status)
				}
			}
		}
	}
}

func idOf(token string, account *store.Account) store.ID {
	if token == "" {
		return store.NilID
	}
	return account.ID
}

func TestMailsOfOneClientAreLimited(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Store: func(c *store.Config) { c.Codes = store.Codes{MailsFrom: 2} }})
	require.Equal(t, 202, k.call("POST", "/password-reset", "", object{"email": "ada@example.org"}).status)
	require.Equal(t, 202, k.call("POST", "/accounts", "", object{"name": "x", "email": "x@example.org"}).status)
	k.assertProblem(k.call("POST", "/password-reset", "", object{"email": "y@example.org"}), 429, grant.ProblemThrottled, "")
	k.assertProblem(k.call("PUT", "/me/email", k.bearer(k.account), object{"email": "z@example.org", "current_password": password}), 429, grant.ProblemThrottled, "")
	k.Sleep(time.Hour)
	assert.Equal(t, 202, k.call("POST", "/password-reset", "", object{"email": "y@example.org"}).status)
}

func TestCurrentPasswordIsThrottled(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Store: func(c *store.Config) { c.Throttle.FreeFailures = 2 }})
	token := k.bearer(k.account)
	remove := func(password string) answer {
		return k.call("DELETE", "/me", token, object{"current_password": password})
	}
	for range 2 {
		k.assertProblem(remove("wrong"), 403, grant.ProblemWrongPassword, "current_password")
		k.onlyEvent(grant.EventPasswordCheckFailed, k.account.ID)
	}
	got := remove(password)
	k.assertProblem(got, 429, grant.ProblemThrottled, "")
	assert.Equal(t, "1", got.header.Get("Retry-After"))
	k.onlyEvent(grant.EventPasswordCheckThrottled, k.account.ID)
	k.Sleep(time.Second)
	assert.Equal(t, 204, remove(password).status)
}

func TestWithoutMailer(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Store: func(c *store.Config) { c.Mailer = nil }})
	token := k.bearer(k.account)
	for _, address := range []string{"ada@example.org", "nobody@example.org"} {
		k.assertProblem(k.call("POST", "/accounts", "", object{"name": "x", "email": address}), 501, grant.ProblemNotConfigured, "")
		k.assertProblem(k.call("POST", "/password-reset", "", object{"email": address}), 501, grant.ProblemNotConfigured, "")
		k.assertProblem(k.call("PUT", "/me/email", token, object{"email": address, "current_password": password}), 501, grant.ProblemNotConfigured, "")
	}
	assert.Equal(t, 200, k.call("PUT", "/me/password", token, object{"current_password": password, "new_password": newPassword}).status)
}

// TestBearerIsRefused checks that each endpoint below /me is protected, as any other resource.
func TestBearerIsRefused(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	pair := k.Token(k.account)
	disabled := k.Account("off")
	disabledToken := k.bearer(disabled)
	require.NoError(t, k.Accounts.Disable(t.Context(), disabled.ID))
	handlers, err := selfservice.New(selfservice.Config{Server: k.Server, Auth: k.Auth})
	require.NoError(t, err)
	protected := 0
	for _, endpoint := range handlers.Endpoints() {
		if !strings.HasPrefix(endpoint.Path, "/me") {
			continue
		}
		protected++
		for header, want := range map[string]struct {
			status int
			code   string
		}{
			"":                               {401, ""},
			"Basic YTpi":                     {401, ""},
			"Bearer":                         {400, `error="invalid_request"`},
			"Bearer x":                       {401, `error="invalid_token"`},
			"Bearer " + pair.RefreshToken:    {401, `error="invalid_token"`},
			"Bearer " + disabledToken:        {401, `error="invalid_token"`},
			"Bearer " + pair.AccessToken[1:]: {401, `error="invalid_token"`},
		} {
			got := k.send(endpoint.Method, endpoint.Path, "{}", "Content-Type", jsonType, "Authorization", header)
			assert.Equal(t, want.status, got.status, "%s %s", endpoint.Pattern(), header)
			assert.Contains(t, got.header.Get("WWW-Authenticate"), `Bearer realm="api"`)
			assert.Contains(t, got.header.Get("WWW-Authenticate"), want.code)
		}
	}
	assert.Equal(t, 9, protected)
}

// outageBackend does not answer while down is set.
type outageBackend struct {
	store.Backend
	down bool
}

func (b *outageBackend) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	if b.down {
		return store.ErrUnavailable
	}
	return b.Backend.UpdateRecord(ctx, key, now, change)
}

func (b *outageBackend) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	if b.down {
		return store.ErrUnavailable
	}
	return b.Backend.Update(ctx, id, change)
}

// TestOutage checks a store that can be read and not written.
func TestOutage(t *testing.T) {
	backend := &outageBackend{Backend: memstore.New()}
	k := newKit(t, middlewaretest.Config{Backend: backend})
	token := k.bearer(k.account)
	require.Equal(t, 202, k.call("POST", "/password-reset", "", object{"email": "ada@example.org"}).status)
	reset := k.code(t, store.MailPasswordReset)
	backend.down = true
	for _, r := range requests {
		body := r.members
		if r.required != nil && r.required[0] == "code" {
			body = with(body, "code", reset)
		}
		got := k.call(r.method, r.path, tokenFor(r.bearer, token), body)
		k.assertProblem(got, http.StatusServiceUnavailable, grant.ProblemUnavailable, "")
	}
	backend.down = false
	assert.Equal(t, 204, k.call("POST", "/password-reset/confirm", "", object{"code": reset, "password": newPassword}).status, "the code stayed good")
}

func TestConfiguration(t *testing.T) {
	_, err := selfservice.New(selfservice.Config{})
	assert.EqualError(t, err, "selfservice: configuration: Server is required: make it with grant.NewServer; Auth is required: make it with middleware.New")
	k := newKit(t, middlewaretest.Config{})
	handlers, err := selfservice.New(selfservice.Config{Server: k.Server, Auth: k.Auth, NoRegistration: true})
	require.NoError(t, err)
	assert.Len(t, handlers.Endpoints(), 11)
	for _, endpoint := range handlers.Endpoints() {
		assert.NotContains(t, endpoint.Path, "/accounts")
	}
}

// TestConfirmationsAreLimitedByAddress: a new password is hashed as that of a login is, so an address
// that has to wait there has to wait here.
func TestConfirmationsAreLimitedByAddress(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Store: func(c *store.Config) { c.Throttle.AddressFailures = 1 }})
	require.Equal(t, 202, k.call("POST", "/accounts", "", object{"name": "grace", "email": "grace@example.org"}).status)
	registration := k.code(t, store.MailRegistration)
	require.Equal(t, 202, k.call("POST", "/password-reset", "", object{"email": "ada@example.org"}).status)
	reset := k.code(t, store.MailPasswordReset)
	require.Equal(t, 400, k.logIn("nobody", "wrong"))
	for path, code := range map[string]string{"/accounts/confirm": registration, "/password-reset/confirm": reset} {
		k.assertProblem(k.call("POST", path, "", object{"code": code, "password": newPassword}), 429, grant.ProblemThrottled, "")
	}
}
