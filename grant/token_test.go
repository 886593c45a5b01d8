package grant_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/tokens"
)

func TestGoodCredentialsGetTokens(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend, Grant: func(c *grant.Config) { c.AcceptJSON = true }})
		for name, test := range map[string]struct{ contentType, body string }{
			"name":                      {formType, passwordForm},
			"name in capitals":          {formType, loginForm("ADA")},
			"e-mail":                    {formType, loginForm("aDA%40example.org")},
			"charset":                   {formType + "; charset=UTF-8", passwordForm},
			"content type in capitals":  {strings.ToUpper(formType), passwordForm},
			"scope is ignored":          {formType, passwordForm + "&scope=admin"},
			"unknown parameters":        {formType, passwordForm + "&x=1&x=2&resource=r"},
			"empty optional parameters": {formType, passwordForm + "&client_id=&client_secret=&scope="},
			"a client without registry": {formType, passwordForm + "&client_id=app&client_secret=x"},
			"JSON":                      {"application/json", `{"grant_type":"password","username":"ada","password":"` + middlewaretest.Password + `","scope":"x"}`},
			"null in JSON is absent":    {"application/json; charset=utf-8", `{"client_id":null,"own":1,"grant_type":"password","username":"ada","password":"` + middlewaretest.Password + `"}`},
		} {
			t.Run(name, func(t *testing.T) {
				got := k.send("POST", "/token", test.body, "Content-Type", test.contentType)
				require.Equal(t, 200, got.status, got.body)
				assertTokenHeaders(t, got)
				members := got.json(t)
				assert.Len(t, members, 4)
				assert.Equal(t, "Bearer", members["token_type"])
				assert.Equal(t, 900.0, members["expires_in"])
				assert.Contains(t, k.get("/protected", members["access_token"].(string)).body, k.account.ID.Hex())
				again := k.refresh(members["refresh_token"].(string))
				require.Equal(t, 200, again.status, again.body)
				assertTokenHeaders(t, again)
			})
		}
	})
}

func TestBadTokenRequestIsRefused(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		k := newKit(t, middlewaretest.Config{Backend: backend})
		require.NoError(t, k.Accounts.Disable(t.Context(), k.Account("grace").ID))
		tokens := k.login()

		for name, test := range map[string]struct {
			method, contentType, query, body string
			headers                          []string
			status                           int
			code                             string
		}{
			"no parameters":          {status: 400, code: "invalid_request"},
			"no grant_type":          {body: "username=ada&password=" + middlewaretest.Password, status: 400, code: "invalid_request"},
			"no username":            {body: "grant_type=password&password=" + middlewaretest.Password, status: 400, code: "invalid_request"},
			"no password":            {body: "grant_type=password&username=ada", status: 400, code: "invalid_request"},
			"empty password":         {body: "grant_type=password&username=ada&password=", status: 400, code: "invalid_request"},
			"no refresh_token":       {body: "grant_type=refresh_token", status: 400, code: "invalid_request"},
			"grant_type twice":       {body: passwordForm + "&grant_type=password", status: 400, code: "invalid_request"},
			"password twice":         {body: passwordForm + "&password=" + middlewaretest.Password, status: 400, code: "invalid_request"},
			"scope twice":            {body: passwordForm + "&scope=a&scope=b", status: 400, code: "invalid_request"},
			"client_id twice":        {body: passwordForm + "&client_id=a&client_id=a", status: 400, code: "invalid_request"},
			"no content type":        {contentType: "-", body: passwordForm, status: 400, code: "invalid_request"},
			"text":                   {contentType: "text/plain", body: passwordForm, status: 400, code: "invalid_request"},
			"multipart":              {contentType: "multipart/form-data; boundary=x", body: passwordForm, status: 400, code: "invalid_request"},
			"broken content type":    {contentType: formType + "; charset", body: passwordForm, status: 400, code: "invalid_request"},
			"JSON while off":         {contentType: "application/json", body: `{"grant_type":"password","username":"ada","password":"` + middlewaretest.Password + `"}`, status: 400, code: "invalid_request"},
			"two content types":      {headers: []string{"Content-Type", formType}, body: passwordForm, status: 400, code: "invalid_request"},
			"bad escape":             {body: passwordForm + "&x=%zz", status: 400, code: "invalid_request"},
			"semicolon":              {body: passwordForm + ";x=1", status: 400, code: "invalid_request"},
			"password in the query":  {query: "?password=" + middlewaretest.Password, body: passwordForm, status: 400, code: "invalid_request"},
			"token in the query":     {query: "?refresh_token=x", body: passwordForm, status: 400, code: "invalid_request"},
			"secret in the query":    {query: "?client_secret=x", body: passwordForm, status: 400, code: "invalid_request"},
			"broken query":           {query: "?a=1;password=x", body: passwordForm, status: 400, code: "invalid_request"},
			"client in two ways":     {body: passwordForm + "&client_secret=x", headers: []string{"Authorization", "Basic YXBwOng="}, status: 400, code: "invalid_request"},
			"two client ids":         {body: passwordForm + "&client_id=other", headers: []string{"Authorization", "Basic YXBwOng="}, status: 400, code: "invalid_request"},
			"unknown name":           {body: loginForm("nobody"), status: 400, code: "invalid_grant"},
			"unknown e-mail":         {body: loginForm("nobody@example.org"), status: 400, code: "invalid_grant"},
			"impossible name":        {body: loginForm("a+b"), status: 400, code: "invalid_grant"},
			"invalid UTF-8":          {body: "grant_type=password&username=%ff&password=%ff", status: 400, code: "invalid_grant"},
			"wrong password":         {body: "grant_type=password&username=ada&password=" + strings.ToUpper(middlewaretest.Password), status: 400, code: "invalid_grant"},
			"password too long":      {body: "grant_type=password&username=ada&password=" + strings.Repeat("x", 1025), status: 400, code: "invalid_grant"},
			"disabled":               {body: loginForm("grace"), status: 400, code: "invalid_grant"},
			"malformed token":        {body: refreshForm("x"), status: 400, code: "invalid_grant"},
			"access token":           {body: refreshForm(tokens.AccessToken), status: 400, code: "invalid_grant"},
			"another client":         {body: refreshForm(tokens.RefreshToken) + "&client_id=other", status: 400, code: "invalid_grant"},
			"other grant":            {body: "grant_type=client_credentials", status: 400, code: "unsupported_grant_type"},
			"grant in capitals":      {body: "grant_type=Password&username=ada&password=" + middlewaretest.Password, status: 400, code: "unsupported_grant_type"},
			"broken Basic":           {body: passwordForm, headers: []string{"Authorization", "Basic !"}, status: 401, code: "invalid_client"},
			"broken escape in Basic": {body: passwordForm, headers: []string{"Authorization", "Basic JXp6Og=="}, status: 401, code: "invalid_client"},
			"two Authorizations":     {body: passwordForm, headers: []string{"Authorization", "Basic YTpi", "Authorization", "Basic YTpi"}, status: 401, code: "invalid_client"},
			"GET":                    {method: "GET", status: 405, code: "invalid_request"},
			"PUT":                    {method: "PUT", body: passwordForm, status: 405, code: "invalid_request"},
			"OPTIONS":                {method: "OPTIONS", status: 405, code: "invalid_request"},
			"too large":              {body: passwordForm + "&x=" + strings.Repeat("x", 64<<10), status: 413, code: "invalid_request"},
		} {
			t.Run(name, func(t *testing.T) {
				method, headers := "POST", test.headers
				if test.method != "" {
					method = test.method
				}
				switch test.contentType {
				case "":
					headers = append(headers, "Content-Type", formType)
				case "-":
				default:
					headers = append(headers, "Content-Type", test.contentType)
				}
				got := k.send(method, "/token"+test.query, test.body, headers...)
				assert.Equal(t, test.status, got.status)
				assertTokenHeaders(t, got)
				members := got.json(t)
				assert.Equal(t, test.code, members["error"])
				assert.NotEmpty(t, members["error_description"])
				assert.Equal(t, test.status == 405, got.header.Get("Allow") == "POST")
				assert.Equal(t, test.status == 401, strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic "))
			})
		}
		assert.Equal(t, 200, k.refresh(tokens.RefreshToken).status, "none of this has ended the session")
	})
}

// TestNoAnswerTellsNames: byte for byte, but for the date, an unknown name, a
// wrong password and a disabled account look alike.
func TestNoAnswerTellsNames(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		var events []grant.Event
		k := newKit(t, middlewaretest.Config{Backend: backend, Grant: func(c *grant.Config) {
			c.Event = func(_ context.Context, event grant.Event) { events = append(events, event) }
		}})
		known := k.token("grant_type=password&username=ada&password=wrong")
		require.NoError(t, k.Accounts.Disable(t.Context(), k.account.ID))
		disabled := k.token(passwordForm)
		unknown := k.token(loginForm("nobody"))
		for _, got := range []*answer{&known, &disabled, &unknown} {
			got.header.Del("Date")
		}
		assert.Equal(t, known, unknown)
		assert.Equal(t, known, disabled)
		require.Len(t, events, 3)
		for _, event := range events {
			assert.NotContains(t, fmt.Sprintf("%+v", event), "nobody", "a submitted name is often a password")
		}
	})
}

func TestOverloadedHasherIsAnOutage(t *testing.T) {
	k := newKit(t, middlewaretest.Config{})
	busy := newKit(t, middlewaretest.Config{Store: func(c *store.Config) { c.Passwords = onceHasher{PasswordHasher: c.Passwords} }})
	for _, form := range []string{passwordForm, "grant_type=password&username=nobody&password=x"} {
		got := busy.token(form)
		assert.Equal(t, 503, got.status)
		assert.NotEmpty(t, got.header.Get("Retry-After"))
		assert.Equal(t, "temporarily_unavailable", got.json(t)["error"])
	}
	assert.Equal(t, 200, k.token(passwordForm).status)
}

// onceHasher can hash, for the account to be made, and is then overloaded.
type onceHasher struct{ store.PasswordHasher }

func (onceHasher) Verify(context.Context, string, func() (string, error)) (bool, bool, error) {
	return false, false, password.ErrOverloaded
}

func TestApproveIsAskedAfterThePassword(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) {
		c.Approve = func(_ context.Context, account *store.Account, request grant.PasswordRequest) error {
			switch request.ClientID {
			case "second-factor":
				return &grant.Error{Code: "mfa_required", Description: "a second factor is needed", Status: 403}
			case "broken":
				return fmt.Errorf("the terms service is down")
			case "lost":
				return fmt.Errorf("the terms of this user: %w", store.ErrNotFound)
			}
			return nil
		}
	}})
	assert.Equal(t, 200, k.token(passwordForm).status)
	got := k.token(passwordForm + "&client_id=second-factor")
	assert.Equal(t, 403, got.status)
	assert.Equal(t, map[string]any{"error": "mfa_required", "error_description": "a second factor is needed"}, got.json(t))
	assert.Equal(t, 503, k.token(passwordForm+"&client_id=broken").status)
	assert.Equal(t, 503, k.token(passwordForm+"&client_id=lost").status, "any error that is not a *grant.Error")
	assert.Equal(t, 400, k.token("grant_type=password&username=ada&password=wrong&client_id=second-factor").status, "not asked before the password")
	assert.Equal(t, []grant.EventType{
		grant.EventLoginSucceeded, grant.EventLoginRefused, grant.EventLoginRefused, grant.EventLoginRefused, grant.EventLoginFailed,
	}, k.TakeEvents())
	sessions, err := k.Accounts.Sessions(t.Context(), k.account.ID)
	require.NoError(t, err)
	assert.Len(t, sessions, 1)
}

// TestNoTokenOutlivesItsSession: a service that knows only the token must not let a user in after
// the session has ended. The clock stands between whole seconds, as clocks do.
func TestNoTokenOutlivesItsSession(t *testing.T) {
	const access, session = 15 * time.Minute, time.Hour
	clients, err := grant.NewClients(grant.Client{ID: "app"}, grant.Client{ID: "slow", AccessTTL: 2 * session}, grant.Client{ID: "brief", SessionTTL: access / 2})
	require.NoError(t, err)
	for name, test := range map[string]struct {
		client string
		change func(*grant.Config)
		access time.Duration
		end    time.Duration // of the session, after the login
	}{
		"server":                       {"", nil, access, session},
		"registered":                   {"app", func(c *grant.Config) { c.Clients = clients }, access, session},
		"tokens longer than a session": {"", func(c *grant.Config) { c.AccessTTL = 2 * session }, 2 * session, session},
		"so for one client":            {"slow", func(c *grant.Config) { c.Clients = clients }, 2 * session, session},
		"a short session for another":  {"brief", func(c *grant.Config) { c.Clients = clients }, access, access / 2},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, middlewaretest.Config{Grant: test.change, Store: func(c *store.Config) { c.SessionTTL = session }})
			k.Sleep(700 * time.Millisecond)
			end := k.Now().Add(test.end).Truncate(time.Second) // a session ends at a whole second
			origin := grant.Origin{ClientID: test.client}
			response, err := k.Server.Password(t.Context(), grant.PasswordRequest{Origin: origin, Username: "ada", Password: middlewaretest.Password})
			for _, left := range []time.Duration{test.end, access + time.Second, access + 1, access, access - 1, time.Minute + 500*time.Millisecond, 2 * time.Second} {
				switch pause := end.Sub(k.Now()) - left; {
				case left > test.end:
					continue
				case left < test.end:
					k.Sleep(pause)
					response, err = k.Server.Refresh(t.Context(), grant.RefreshRequest{Origin: origin, RefreshToken: response.RefreshToken})
				}
				require.NoError(t, err, left)
				token, err := k.Issuer.Verifier().Verify(t.Context(), response.AccessToken)
				require.NoError(t, err)
				want := k.Now().Truncate(time.Second).Add(test.access)
				if want.After(end) {
					want = end
				}
				assert.Equal(t, want, token.Expiry, left)
				assert.EqualValues(t, min(test.access, end.Sub(k.Now()))/time.Second, response.ExpiresIn, left)
				refresh, err := k.Issuer.VerifyRefresh(response.RefreshToken)
				require.NoError(t, err)
				assert.Equal(t, end, refresh.Expiry, left)
			}
			k.Sleep(end.Sub(k.Now()))
			_, err = k.Issuer.Verifier().Verify(t.Context(), response.AccessToken)
			assert.ErrorIs(t, err, tokens.ErrExpired)
		})
	}
}

func TestEvictionIsAnEvent(t *testing.T) {
	k := newKit(t, middlewaretest.Config{Store: func(c *store.Config) { c.MaxSessions = 1 }})
	first := k.login()
	k.login()
	assert.Equal(t, []grant.EventType{grant.EventLoginSucceeded, grant.EventSessionEvicted, grant.EventLoginSucceeded}, k.TakeEvents())
	assert.Equal(t, 401, k.get("/protected", first.AccessToken).status)
}

// TestTokenResponseIsWhatMarshalWrites: the endpoints write their answer without json.Marshal, and
// whatever a Response holds, a client reads the same.
func TestTokenResponseIsWhatMarshalWrites(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{})
	for _, text := range []string{"", "eyJ.a-_9.Zz", "\"", "\\", "<>&", "\n\t\x00\x7f", "ä€\u2028\U0001f600", "a b", "a=="} {
		response := &grant.Response{AccessToken: text, TokenType: "Bearer" + text, ExpiresIn: int64(len(text)), RefreshToken: strings.Repeat(text, 300)}
		recorder := httptest.NewRecorder()
		kit.Server.WriteTokens(recorder, response)
		want, err := json.Marshal(response)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), recorder.Body.String())
	}
}
