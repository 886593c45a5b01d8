package grant_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestSecondFactorCanBeThrottled: Approve says which of its refusals are failed logins.
func TestSecondFactorCanBeThrottled(t *testing.T) {
	server, _ := newServer(t, memstore.New(), func(c *grant.Config) {
		c.Approve = func(context.Context, *store.Account, grant.PasswordRequest) error {
			return &grant.Error{Code: "wrong_code", Description: "wrong code", Status: 403, Err: store.ErrCredentials}
		}
	})
	statuses := map[int]int{}
	for range 30 {
		request := httptest.NewRequest("POST", "/token", strings.NewReader(passwordForm))
		request.Header.Set("Content-Type", formType)
		recorder := httptest.NewRecorder()
		server.TokenHandler().ServeHTTP(recorder, request)
		statuses[recorder.Code]++
	}
	assert.Equal(t, map[int]int{403: 10, 429: 20}, statuses)
}

// TestRefusalThatCannotBeCountedIsAnOutage: else a second factor could be guessed while the store
// cannot be written.
func TestRefusalThatCannotBeCountedIsAnOutage(t *testing.T) {
	backend := &uncountable{Backend: memstore.New()}
	server, _ := newServer(t, backend, func(c *grant.Config) {
		c.Approve = func(context.Context, *store.Account, grant.PasswordRequest) error {
			backend.down = true
			return &grant.Error{Code: "wrong_code", Err: store.ErrCredentials}
		}
	})
	_, err := server.Password(t.Context(), grant.PasswordRequest{Username: "ada", Password: middlewaretest.Password})
	var failure *grant.Error
	require.ErrorAs(t, err, &failure)
	assert.Equal(t, []any{503, grant.CodeTemporarilyUnavailable}, []any{failure.Status, failure.Code})
}

// uncountable is a store that writes no counter while down is set.
type uncountable struct {
	store.Backend
	down bool
}

func (b *uncountable) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	if b.down {
		return store.ErrUnavailable
	}
	return b.Backend.UpdateRecord(ctx, key, now, change)
}

// TestFailedLoginsCountByAddress: an address that has failed too often waits, and others do not.
func TestFailedLoginsCountByAddress(t *testing.T) {
	var address string
	k := newKit(t, middlewaretest.Config{
		Store: func(c *store.Config) { c.Throttle.AddressFailures = 1 },
		Grant: func(c *grant.Config) { c.ClientAddress = func(*http.Request) string { return address } },
	})
	address = "192.0.2.1"
	assert.Equal(t, 400, k.token("grant_type=password&password=wrong&username=nobody").status)
	assert.Equal(t, 429, k.token(passwordForm).status)
	address = "192.0.2.2"
	assert.Equal(t, 200, k.token(passwordForm).status)
}

// TestTooManyFailedLogins: the answer is the same whether an account has the name or
// not, byte for byte.
func TestTooManyFailedLogins(t *testing.T) {
	type answer struct {
		status int
		header http.Header
		body   string
	}
	var answers [2][]answer
	for i, name := range []string{"ada", "bob"} { // bob is nobody
		var events []grant.EventType
		server, _ := newServer(t, memstore.New(), func(c *grant.Config) {
			c.Event = func(_ context.Context, event grant.Event) { events = append(events, event.Type) }
		})
		for range 12 {
			request := httptest.NewRequest("POST", "/token", strings.NewReader("grant_type=password&password=wrong&username="+name))
			request.Header.Set("Content-Type", formType)
			recorder := httptest.NewRecorder()
			server.TokenHandler().ServeHTTP(recorder, request)
			answers[i] = append(answers[i], answer{recorder.Code, recorder.Header(), recorder.Body.String()})
		}
		assert.Equal(t, grant.EventLoginFailed, events[9])
		assert.Equal(t, grant.EventLoginThrottled, events[11])
	}
	assert.Equal(t, answers[0], answers[1])
	assert.Equal(t, 400, answers[0][9].status)
	refused := answers[0][11]
	require.Equal(t, 429, refused.status)
	assert.JSONEq(t, `{"error":"invalid_grant","error_description":"too many failed logins"}`, refused.body)
	assert.Equal(t, "no-store", refused.header.Get("Cache-Control"))
	seconds, err := strconv.Atoi(refused.header.Get("Retry-After"))
	require.NoError(t, err)
	assert.Positive(t, seconds)
}
