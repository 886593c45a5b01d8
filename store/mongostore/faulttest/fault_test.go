package faulttest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

const timeout = 500 * time.Millisecond

// kit is a complete server over a database behind a proxy. Its clock runs, because what
// hangs takes time.
type kit struct {
	*middlewaretest.Kit
	t       *testing.T
	backend *mongostore.Store
	web     *httptest.Server
	client  *http.Client
}

func newKit(t *testing.T, uri string) *kit {
	t.Helper()
	backend, err := mongostore.Open(t.Context(), uri, mongostore.Config{Timeout: timeout})
	require.NoError(t, err)
	k := &kit{Kit: middlewaretest.New(t, middlewaretest.Config{Backend: backend, Now: time.Now}), t: t, backend: backend}
	mux := http.NewServeMux()
	k.Server.Mount(mux)
	mux.Handle("/protected", k.Auth.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	k.web = httptest.NewServer(mux)
	// If a request hangs, the client returns an error, which counts as other.
	k.client = &http.Client{Timeout: 10 * timeout, Transport: &http.Transport{}}
	return k
}

func (k *kit) close() {
	k.client.CloseIdleConnections()
	k.web.Close()
	assert.NoError(k.t, k.backend.Close())
}

// tally counts answers.
type tally struct {
	mu                        sync.Mutex
	sent, good, outage, other int
}

func (y *tally) add(status int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.sent++
	switch {
	case status >= 200 && status < 300:
		y.good++
	case status == http.StatusServiceUnavailable:
		y.outage++
	default:
		y.other++
	}
}

func (y *tally) String() string {
	return fmt.Sprintf("%3d requests sent, %3d answered 2xx, %3d 503, %d anything else", y.sent, y.good, y.outage, y.other)
}

// user is one account with one session. It goes on after every error.
type user struct {
	k      *kit
	name   string
	id     store.ID
	tokens grant.Response

	counted, uncounted int // increments of the user's counter that succeeded, and that failed
}

func (k *kit) newUser(name string) *user {
	k.t.Helper()
	account, err := k.Accounts.Create(k.t.Context(), store.NewAccount{Name: name, Email: name + "@example.org", NoPassword: true})
	require.NoError(k.t, err)
	response, err := k.Server.Issue(k.t.Context(), account.ID, grant.Origin{})
	require.NoError(k.t, err)
	return &user{k: k, name: name, id: account.ID, tokens: *response}
}

func (u *user) do(request *http.Request, y *tally) (status int, body []byte) {
	response, err := u.k.client.Do(request)
	if err != nil {
		u.k.t.Errorf("no answer: %v", err)
		y.add(0)
		return 0, nil
	}
	defer response.Body.Close()
	body, _ = io.ReadAll(response.Body)
	y.add(response.StatusCode)
	if response.StatusCode == http.StatusServiceUnavailable {
		assert.NotEmpty(u.k.t, response.Header.Get("Retry-After"))
		assert.Empty(u.k.t, response.Header.Get("WWW-Authenticate"))
	}
	return response.StatusCode, body
}

// refresh tries with the user's token until a reply brings a new one.
func (u *user) refresh(y *tally) int {
	request, _ := http.NewRequest("POST", u.k.web.URL+"/token", strings.NewReader("grant_type=refresh_token&refresh_token="+u.tokens.RefreshToken))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, body := u.do(request, y)
	if status == http.StatusOK {
		assert.NoError(u.k.t, json.Unmarshal(body, &u.tokens))
	}
	return status
}

func (u *user) call(y *tally) int {
	request, _ := http.NewRequest("GET", u.k.web.URL+"/protected", nil)
	request.Header.Set("Authorization", "Bearer "+u.tokens.AccessToken)
	status, _ := u.do(request, y)
	return status
}

// count adds one to a counter, once.
func (u *user) count() {
	err := u.k.backend.UpdateRecord(context.Background(), u.name, time.Now(), func(r *store.Record) error {
		value := uint64(0)
		if len(r.Value) == 8 {
			value = binary.BigEndian.Uint64(r.Value)
		}
		r.Value, r.Expires = binary.BigEndian.AppendUint64(nil, value+1), time.Now().Add(time.Hour)
		return nil
	})
	if err != nil {
		assert.ErrorIs(u.k.t, err, store.ErrUnavailable)
		u.uncounted++
		return
	}
	u.counted++
}

// create makes accounts and returns those for which the server confirmed it.
func (u *user) create(round int) (name string, made bool) {
	name = fmt.Sprintf("%s-%d", u.name, round)
	_, err := u.k.Accounts.Create(context.Background(), store.NewAccount{Name: name, Email: name + "@example.org", NoPassword: true})
	if err != nil {
		assert.ErrorIs(u.k.t, err, store.ErrUnavailable)
	}
	return name, err == nil
}

func TestFaults(t *testing.T) {
	for _, fault := range []struct {
		name  string
		begin func(*proxy)
	}{
		{"no fault", func(*proxy) {}},
		{"cut before the request", func(p *proxy) { p.limit("upstream", 1) }},
		{"cut before the request, at random", func(p *proxy) { p.limit("upstream", 0.5) }},
		{"cut after the write, before the reply", func(p *proxy) { p.limit("downstream", 1) }},
		{"cut before the reply, at random", func(p *proxy) { p.limit("downstream", 0.5) }},
		{"5 s latency", func(p *proxy) { p.latency(5000) }},
		{"connection refused", func(p *proxy) { p.refuse() }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			direct := mongotest.URI(t)
			leaks := goleak.IgnoreCurrent()
			p := newProxy(t, direct)
			k := newKit(t, p.uri)
			users := make([]*user, 4)
			for i := range users {
				users[i] = k.newUser(fmt.Sprintf("user%d", i))
			}

			var during tally
			made := new(sync.Map)
			fault.begin(p)
			var all sync.WaitGroup
			for _, u := range users {
				all.Go(func() {
					for round := range 5 {
						u.call(&during)
						u.refresh(&during)
						u.count()
						name, yes := u.create(round)
						made.Store(name, yes)
					}
				})
			}
			all.Wait()
			p.heal()

			// No restart is needed: the driver finds the server again while requests
			// go on.
			var after tally
			for _, u := range users {
				for ask := 0; u.call(&after) != 200 && ask < 60; ask++ {
				}
				for ask := 0; u.refresh(&after) != 200 && ask < 60; ask++ {
				}
				require.Equal(t, 200, u.call(&after), "%s was logged out", u.name)
				u.count()
			}
			t.Logf("during: %v", &during)
			t.Logf(" after: %v", &after)
			assert.Zero(t, during.other)
			assert.Zero(t, after.other)

			checkNothingLostOrDoubled(t, direct, users, made)
			k.close()
			p.proxy.Stop()
			goleak.VerifyNone(t, leaks)
		})
	}
}

// checkNothingLostOrDoubled reads from the server without a proxy.
func checkNothingLostOrDoubled(t *testing.T, uri string, users []*user, made *sync.Map) {
	t.Helper()
	backend, err := mongostore.Open(t.Context(), uri, mongostore.Config{})
	require.NoError(t, err)
	defer backend.Close()
	looking := errors.New("only looking")
	for _, u := range users {
		account, err := backend.FindByID(t.Context(), u.id)
		require.NoError(t, err)
		assert.Len(t, account.Sessions, 1, "one login, one session")
		err = backend.UpdateRecord(t.Context(), u.name, time.Now(), func(r *store.Record) error {
			value := int(binary.BigEndian.Uint64(r.Value))
			assert.GreaterOrEqual(t, value, u.counted, "an answered write was lost")
			assert.LessOrEqual(t, value, u.counted+u.uncounted, "a write was done twice")
			return looking
		})
		require.ErrorIs(t, err, looking)
	}
	made.Range(func(name, yes any) bool {
		byName, err := backend.FindByName(t.Context(), name.(string))
		if errors.Is(err, store.ErrNotFound) {
			assert.False(t, yes.(bool), "an answered account was lost")
			return true
		}
		require.NoError(t, err)
		byEmail, err := backend.FindByEmail(t.Context(), name.(string)+"@example.org")
		require.NoError(t, err)
		assert.Equal(t, byName, byEmail, "whole or not at all")
		return true
	})
}
