package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

const (
	password    = middlewaretest.Password
	newPassword = "ten-lanterns-drift-by-dusk"
	jsonType    = "application/json"
	userAgent   = "admin test"
)

// object is a JSON object.
type object = map[string]any

// kit is a whole kit behind an HTTP server, with an administrator.
type kit struct {
	*middlewaretest.Kit
	t        testing.TB
	handlers *admin.Handlers
	web      *httptest.Server
	root     *store.Account
	token    string // of root

	mu      sync.Mutex
	events  []grant.Event
	arrived chan struct{} // an event
}

// newKit makes a kit. config.Server and config.Auth are those of the kit. A test may change the
// HTTP server before it starts.
func newKit(t testing.TB, base middlewaretest.Config, config admin.Config, change ...func(*httptest.Server)) *kit {
	t.Helper()
	k := &kit{t: t, arrived: make(chan struct{}, 1000)}
	own := base.Grant
	base.Grant = func(c *grant.Config) {
		c.RecordOrigin = true
		c.Event = k.addEvent
		if own != nil {
			own(c)
		}
	}
	k.Kit = middlewaretest.New(t, base)
	config.Server, config.Auth = k.Server, k.Auth
	var err error
	k.handlers, err = admin.New(config)
	require.NoError(t, err)
	mux := http.NewServeMux()
	k.handlers.Mount(mux)
	k.Server.Mount(mux)
	k.web = httptest.NewUnstartedServer(mux)
	for _, change := range change {
		change(k.web)
	}
	k.web.Start()
	t.Cleanup(k.web.Close)
	k.root = k.Account("root", store.AdminGroup)
	tokens, err := k.Server.Issue(t.Context(), k.root.ID, grant.Origin{ClientID: "console"})
	require.NoError(t, err)
	k.token = tokens.AccessToken
	k.takeEvents()
	return k
}

func (k *kit) addEvent(_ context.Context, event grant.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, event)
	k.arrived <- struct{}{}
}

// takeEvents returns what has happened since it was last called.
func (k *kit) takeEvents() []grant.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	events := k.events
	k.events = nil
	return events
}

// onlyEvent requires that root did one thing, to an account and with the reason.
func (k *kit) onlyEvent(kind grant.EventType, account store.ID, reason string) grant.Event {
	k.t.Helper()
	events := k.takeEvents()
	require.Len(k.t, events, 1)
	k.assertEvent(events[0], kind, account, reason)
	return events[0]
}

func (k *kit) assertEvent(event grant.Event, kind grant.EventType, account store.ID, reason string) {
	k.t.Helper()
	assert.Equal(k.t, kind, event.Type)
	assert.Equal(k.t, account, event.AccountID)
	assert.Equal(k.t, k.root.ID, event.ActorID)
	assert.Equal(k.t, reason, event.Reason)
	assert.Equal(k.t, "127.0.0.1", event.Address)
	assert.Equal(k.t, userAgent, event.UserAgent)
	assert.Equal(k.t, "console", event.ClientID, "the client of the administrator")
	assert.Equal(k.t, k.Now(), event.Time)
}

// bearer returns an access token of a new session, and forgets the event of it.
func (k *kit) bearer(account *store.Account) string {
	k.t.Helper()
	token := k.Token(account).AccessToken
	k.takeEvents()
	return token
}

// answer is a response with its body read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(t testing.TB) object {
	t.Helper()
	var members object
	require.NoError(t, json.Unmarshal([]byte(a.body), &members), a.body)
	return members
}

// send makes a request. Headers are pairs of name and value.
func (k *kit) send(method, path, body string, headers ...string) answer {
	k.t.Helper()
	request, err := http.NewRequestWithContext(k.t.Context(), method, k.web.URL+path, strings.NewReader(body))
	require.NoError(k.t, err)
	request.Header.Set("User-Agent", userAgent)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	require.NoError(k.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(k.t, err)
	return answer{response.StatusCode, response.Header, string(text)}
}

// callAs sends the JSON of members with an access token. No answer may be cached.
func (k *kit) callAs(token, method, path string, members object) answer {
	k.t.Helper()
	body := ""
	if members != nil {
		text, err := json.Marshal(members)
		require.NoError(k.t, err)
		body = string(text)
	}
	headers := []string{"Content-Type", jsonType}
	if token != "" {
		headers = append(headers, "Authorization", "Bearer "+token)
	}
	got := k.send(method, path, body, headers...)
	assert.Contains(k.t, got.header.Get("Cache-Control"), "no-store", "%s %s", method, path)
	return got
}

// call is a call of root.
func (k *kit) call(method, path string, members object) answer {
	k.t.Helper()
	return k.callAs(k.token, method, path, members)
}

// ok requires an answer with the status, and returns its JSON, if it has any.
func (k *kit) ok(status int, got answer) object {
	k.t.Helper()
	require.Equal(k.t, status, got.status, got.body)
	if status == http.StatusNoContent {
		assert.Empty(k.t, got.body)
		assert.Empty(k.t, got.header.Get("Content-Type"))
		return nil
	}
	assert.Equal(k.t, "application/json;charset=UTF-8", got.header.Get("Content-Type"))
	return got.json(k.t)
}

// assertProblem checks everything that a problem says but its texts. It returns it.
func (k *kit) assertProblem(got answer, status int, kind grant.ProblemType, field string) object {
	k.t.Helper()
	assert.Equal(k.t, status, got.status, got.body)
	assert.Equal(k.t, "application/problem+json", got.header.Get("Content-Type"))
	assert.Equal(k.t, "no-store", got.header.Get("Cache-Control"))
	problem := got.json(k.t)
	assert.Equal(k.t, string(kind), problem["type"], got.body)
	assert.EqualValues(k.t, status, problem["status"])
	assert.NotEmpty(k.t, problem["title"])
	if field == "" {
		assert.NotContains(k.t, problem, "field")
	} else {
		assert.Equal(k.t, field, problem["field"], got.body)
	}
	assert.Equal(k.t, status == http.StatusServiceUnavailable, got.header.Get("Retry-After") != "")
	return problem
}

// assertAccount checks that an answer is an account, with exactly the members of the contract.
func (k *kit) assertAccount(got object, id store.ID) {
	k.t.Helper()
	account, err := k.Accounts.FindByID(k.t.Context(), id)
	require.NoError(k.t, err)
	text, err := json.Marshal(object{
		"account_id": account.ID.Hex(), "name": account.Name, "email": account.Email, "phone": account.Phone,
		"groups": account.Groups, "disabled": account.Disabled,
		"created": account.Created, "modified": account.Modified, "last_action": account.LastAction,
	})
	require.NoError(k.t, err)
	var want object
	require.NoError(k.t, json.Unmarshal(text, &want))
	if account.Phone == "" {
		delete(want, "phone")
	}
	assert.Equal(k.t, want, got)
}

// find returns an account as it is now.
func (k *kit) find(id store.ID) *store.Account {
	k.t.Helper()
	account, err := k.Accounts.FindByID(k.t.Context(), id)
	require.NoError(k.t, err)
	return account
}

// idOf returns the id of an account that an answer holds.
func (k *kit) idOf(account object) store.ID {
	k.t.Helper()
	text, _ := account["account_id"].(string)
	id, err := store.ParseID(text)
	require.NoError(k.t, err)
	return id
}

// logIn returns the status of a login, and forgets its events.
func (k *kit) logIn(username, password string) int {
	k.t.Helper()
	status := k.send("POST", "/token", "grant_type=password&username="+username+"&password="+password,
		"Content-Type", "application/x-www-form-urlencoded").status
	k.takeEvents()
	return status
}

// path returns the path of an account.
func path(account *store.Account) string { return "/admin/accounts/" + account.ID.Hex() }
