package selfservice_test

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
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

const (
	password    = middlewaretest.Password
	newPassword = "ten-lanterns-drift-by-dusk"
	jsonType    = "application/json"
)

// outbox is a Mailer that sends nothing. The test says when the work of the mails runs.
type outbox struct {
	mu      sync.Mutex
	waiting []func(context.Context) (*store.Mail, error)
}

func (o *outbox) Enqueue(prepare func(context.Context) (*store.Mail, error)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = append(o.waiting, prepare)
	return nil
}

// deliver does the work that waits, and returns the mails that come of it.
func (o *outbox) deliver(t testing.TB) (mails []store.Mail) {
	t.Helper()
	o.mu.Lock()
	waiting := o.waiting
	o.waiting = nil
	o.mu.Unlock()
	for _, prepare := range waiting {
		mail, err := prepare(t.Context())
		require.NoError(t, err)
		if mail != nil {
			mails = append(mails, *mail)
		}
	}
	return mails
}

// code returns the code of the last mail of a kind.
func (o *outbox) code(t testing.TB, kind store.MailKind) (code string) {
	t.Helper()
	for _, mail := range o.deliver(t) {
		if mail.Kind == kind {
			code = mail.Code
		}
	}
	require.NotEmpty(t, code)
	return code
}

// kit is a whole kit behind an HTTP server, with mail.
type kit struct {
	*middlewaretest.Kit
	*outbox
	t       testing.TB
	url     string
	account *store.Account // "ada"

	mu     sync.Mutex
	events []grant.Event
}

func newKit(t testing.TB, config middlewaretest.Config) *kit {
	t.Helper()
	k := &kit{outbox: &outbox{}, t: t}
	change := config.Store
	config.Store = func(c *store.Config) {
		c.Mailer = k.outbox
		c.Codes.MailsTo, c.Codes.MailsFrom = 1000, -1
		if change != nil {
			change(c)
		}
	}
	changeGrant := config.Grant
	config.Grant = func(c *grant.Config) {
		if changeGrant != nil {
			changeGrant(c)
		}
		c.RecordOrigin = true
		c.Event = func(_ context.Context, event grant.Event) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.events = append(k.events, event)
		}
	}
	k.Kit = middlewaretest.New(t, config)
	k.account = k.Account("ada")
	handlers, err := selfservice.New(selfservice.Config{Server: k.Server, Auth: k.Auth})
	require.NoError(t, err)
	mux := http.NewServeMux()
	handlers.Mount(mux)
	k.Server.Mount(mux)
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	k.url = web.URL
	return k
}

// takeEvents returns what has happened since it was last called.
func (k *kit) takeEvents() []grant.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	events := k.events
	k.events = nil
	return events
}

// onlyEvent requires that one thing has happened.
func (k *kit) onlyEvent(kind grant.EventType, account store.ID) grant.Event {
	k.t.Helper()
	events := k.takeEvents()
	require.Len(k.t, events, 1)
	assert.Equal(k.t, kind, events[0].Type)
	assert.Equal(k.t, account, events[0].AccountID)
	assert.Equal(k.t, "127.0.0.1", events[0].Address)
	return events[0]
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

func (a answer) json(t testing.TB) map[string]any {
	t.Helper()
	var members map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &members), a.body)
	return members
}

// send makes a request. Headers are pairs of name and value.
func (k *kit) send(method, path, body string, headers ...string) answer {
	k.t.Helper()
	request, err := http.NewRequestWithContext(k.t.Context(), method, k.url+path, strings.NewReader(body))
	require.NoError(k.t, err)
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

// call sends the JSON of members, with an access token if there is one.
func (k *kit) call(method, path, token string, members map[string]any) answer {
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
	assert.Equal(k.t, "no-store", got.header.Get("Cache-Control"), "%s %s", method, path)
	return got
}

// object is the body of a request.
type object = map[string]any

// assertProblem checks everything that a problem says but its texts.
func (k *kit) assertProblem(got answer, status int, kind grant.ProblemType, field string) {
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
		assert.Equal(k.t, field, problem["field"])
	}
	waits := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	assert.Equal(k.t, waits, got.header.Get("Retry-After") != "")
}

func (k *kit) logIn(username, password string) int {
	k.t.Helper()
	status := k.send("POST", "/token", "grant_type=password&username="+username+"&password="+password,
		"Content-Type", "application/x-www-form-urlencoded").status
	k.takeEvents()
	return status
}
