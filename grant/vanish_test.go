package grant_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

// stops is a backend that calls a function before and after each call.
type stops struct {
	store.Backend
	stop atomic.Pointer[func()]
}

func (s *stops) here() {
	if stop := s.stop.Load(); stop != nil {
		(*stop)()
	}
}

func (s *stops) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	s.here()
	defer s.here()
	return s.Backend.FindByID(ctx, id)
}

func (s *stops) FindByName(ctx context.Context, name string) (*store.Account, error) {
	s.here()
	defer s.here()
	return s.Backend.FindByName(ctx, name)
}

func (s *stops) Update(ctx context.Context, id store.ID, change func(*store.Account) error) error {
	s.here()
	defer s.here()
	return s.Backend.Update(ctx, id, change)
}

func (s *stops) UpdateRecord(ctx context.Context, key string, now time.Time, change func(*store.Record) error) error {
	s.here()
	defer s.here()
	return s.Backend.UpdateRecord(ctx, key, now, change)
}

// vanishing is a second server of a kit, whose clients hang up.
type vanishing struct {
	*kit
	stops    *stops
	web      *httptest.Server
	contexts chan context.Context
	begun    chan struct{} // of each connection
	ended    chan struct{}
}

func newVanishing(t *testing.T, backend store.Backend) *vanishing {
	t.Helper()
	v := &vanishing{
		stops: &stops{Backend: backend}, contexts: make(chan context.Context, 1),
		begun: make(chan struct{}, 1), ended: make(chan struct{}, 1),
	}
	v.kit = newKit(t, middlewaretest.Config{Backend: v.stops})
	handler := v.Server.TokenHandler()
	v.web = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.contexts <- r.Context()
		handler.ServeHTTP(w, r)
	}))
	v.web.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			v.begun <- struct{}{}
		case http.StateClosed:
			v.ended <- struct{}{}
		}
	}
	v.web.Start()
	t.Cleanup(v.web.Close)
	return v
}

// send sends a part of a request to the server, and then has vanish at once. It returns when
// the server has noticed.
func (v *vanishing) send(part string, vanish func(*net.TCPConn) error) {
	v.t.Helper()
	connection, err := net.Dial("tcp", v.web.Listener.Addr().String())
	require.NoError(v.t, err)
	<-v.begun
	_, err = io.WriteString(connection, part)
	require.NoError(v.t, err)
	require.NoError(v.t, vanish(connection.(*net.TCPConn)))
	<-v.ended
	select {
	case <-v.contexts:
	default:
	}
}

func hangUp(connection *net.TCPConn) error { return connection.Close() }

func reset(connection *net.TCPConn) error {
	if err := connection.SetLinger(0); err != nil {
		return err
	}
	return connection.Close()
}

// sendUpTo sends a request and resets the connection at a stop. It reports whether the
// server came as far as that. If not, the client waits for its answer, and never reads it.
func (v *vanishing) sendUpTo(request string, stop int) (reached bool) {
	v.t.Helper()
	connection, err := net.Dial("tcp", v.web.Listener.Addr().String())
	require.NoError(v.t, err)
	<-v.begun
	n := 0
	here := func() {
		if n++; n == stop {
			reached = true
			ctx := <-v.contexts
			_ = reset(connection.(*net.TCPConn))
			<-ctx.Done() // the server has noticed
		}
	}
	v.stops.stop.Store(&here)
	_, err = io.WriteString(connection, request)
	require.NoError(v.t, err)
	<-v.ended // the handler returns before
	v.stops.stop.Store(nil)
	select {
	case <-v.contexts:
	default:
	}
	_ = connection.Close()
	return reached
}

// eachMoment calls test with functions that send a request and vanish, each at another
// moment.
func (v *vanishing) eachMoment(test func(moment string, vanish func(request string))) {
	for _, way := range []struct {
		name   string
		vanish func(*net.TCPConn) error
	}{{"hangs up", hangUp}, {"resets", reset}} {
		for percent := 4; percent <= 100; percent += 12 {
			test(fmt.Sprint(way.name, " after percent ", percent), func(request string) { v.send(request[:len(request)*percent/100], way.vanish) })
		}
	}
	for stop, reached := 1, true; reached; stop++ {
		test(fmt.Sprint("resets at stop ", stop), func(request string) { reached = v.sendUpTo(request, stop) })
		require.Less(v.t, stop, 100)
	}
}

// whole returns the sessions of the account. Each must be a whole one.
func (v *vanishing) whole(moment string) []store.Session {
	v.t.Helper()
	sessions, err := v.Accounts.Sessions(v.t.Context(), v.account.ID)
	require.NoError(v.t, err, moment)
	for _, session := range sessions {
		assert.NotEmpty(v.t, session.ID, moment)
		assert.Equal(v.t, "app", session.ClientID, moment)
		assert.Positive(v.t, session.Generation, moment)
		assert.True(v.t, session.Expires.After(v.Now()), moment)
	}
	return sessions
}

func (v *vanishing) reset() {
	v.t.Helper()
	require.NoError(v.t, v.Accounts.EndSessions(v.t.Context(), v.account.ID, ""))
	v.TakeEvents()
}

// TestClientThatVanishesInALogin leaves a whole session or none, and can log in again.
func TestClientThatVanishesInALogin(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		v := newVanishing(t, backend)
		moments, left := 0, 0
		v.eachMoment(func(moment string, vanish func(string)) {
			v.reset()
			before := v.mustToken(passwordForm + "&client_id=app")
			vanish(loginAs("app", "Connection: close"))
			sessions := len(v.whole(moment))
			assert.Contains(t, []int{1, 2}, sessions, moment)
			moments++
			left += sessions - 1

			again := v.mustToken(passwordForm + "&client_id=app")
			assert.Equal(t, 200, v.get("/protected", again.AccessToken).status, moment)
			assert.Equal(t, 200, v.get("/protected", before.AccessToken).status, moment)
			assert.Len(t, v.whole(moment), sessions+1, moment)
		})
		t.Logf("%d moments; %d left a session", moments, left)
		assert.Positive(t, left, "some moments must be late")
		assert.Less(t, left, moments, "and some early")
	})
}

// TestClientThatVanishesInARefresh asks again with the same refresh token: at once, and long
// after the reuse interval. It may vanish several times before.
func TestClientThatVanishesInARefresh(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		v := newVanishing(t, backend)
		moments, moved := 0, 0
		v.eachMoment(func(moment string, vanish func(string)) {
			for _, pause := range []time.Duration{0, time.Hour} {
				v.reset()
				token := v.mustToken(passwordForm + "&client_id=app").RefreshToken
				v.Sleep(time.Minute)
				request := tokenRequest(refreshForm(token), "Connection: close")
				vanish(request)
				sessions := v.whole(moment)
				require.Len(t, sessions, 1, moment)
				assert.LessOrEqual(t, sessions[0].Generation, int64(2), moment)
				moments++
				moved += int(sessions[0].Generation) - 1
				v.Sleep(pause)
				v.send(request, reset)

				v.Sleep(pause)
				again := v.mustToken(refreshForm(token))
				assert.Equal(t, 200, v.get("/protected", again.AccessToken).status, moment)
				next := v.mustToken(refreshForm(again.RefreshToken))
				assert.Equal(t, 200, v.get("/protected", next.AccessToken).status, moment)
				assert.Len(t, v.whole(moment), 1, moment)
				for _, event := range v.TakeEvents() {
					assert.False(t, strings.Contains(string(event), "reused"), moment)
				}
			}
		})
		t.Logf("%d moments; %d moved the generation", moments, moved)
		assert.Positive(t, moved, "some moments must be late")
		assert.Less(t, moved, moments, "and some early")
	})
}
