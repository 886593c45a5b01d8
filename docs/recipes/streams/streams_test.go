package streams

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// world is a server with one stream, in a bubble: its clock jumps to the next moment at
// which something happens.
type world struct {
	*middlewaretest.Kit
	t        *testing.T
	down     atomic.Bool // whether the store is
	messages chan string
	client   *http.Client
	returned chan struct{} // closed when the handler of the stream has returned
}

// brittle is a backend that can be down.
type brittle struct {
	store.Backend
	down *atomic.Bool
}

func (b *brittle) FindByID(ctx context.Context, id store.ID) (*store.Account, error) {
	if b.down.Load() {
		return nil, store.ErrUnavailable
	}
	return b.Backend.FindByID(ctx, id)
}

// stream is what a client has opened. next returns the next message, or false at the end.
type stream struct {
	next  func() (string, bool)
	close func()
}

// eachStream runs a test with both streams.
func eachStream(t *testing.T, test func(t *testing.T, w *world, open func(token string) *stream)) {
	for name, kind := range map[string]struct {
		handler func(*middleware.Authenticator, <-chan string) http.Handler
		open    func(w *world, token string) *stream
	}{
		"events": {events, (*world).openEvents},
		"socket": {socket, (*world).openSocket},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{t: t, messages: make(chan string), returned: make(chan struct{})}
				w.Kit = middlewaretest.New(t, middlewaretest.Config{Now: time.Now, Backend: &brittle{memstore.New(), &w.down}})
				stop := w.serve(kind.handler(w.Auth, w.messages))
				defer stop()
				test(t, w, func(token string) *stream { return kind.open(w, token) })
			})
		})
	}
}

// serve serves over pipes, as a bubble cannot wait for a network.
func (w *world) serve(handler http.Handler) (stop func()) {
	pipes := &pipes{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{
		WriteTimeout: 5 * time.Second, // much shorter than a stream
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			defer close(w.returned)
			handler.ServeHTTP(rw, r)
		}),
	}
	go server.Serve(pipes)
	transport := &http.Transport{DialContext: pipes.dial}
	w.client = &http.Client{Transport: transport}
	return func() {
		transport.CloseIdleConnections()
		assert.NoError(w.t, server.Close())
	}
}

type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.accepted <- server
	return client, nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (w *world) openEvents(token string) *stream {
	request, err := http.NewRequestWithContext(w.t.Context(), "GET", "http://api.example.org/", nil)
	require.NoError(w.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := w.client.Do(request)
	require.NoError(w.t, err)
	require.Equal(w.t, 200, response.StatusCode)
	require.Equal(w.t, "text/event-stream", response.Header.Get("Content-Type"))
	closeBody := func() { assert.NoError(w.t, response.Body.Close()) }
	return &stream{close: closeBody, next: func() (string, bool) {
		data := make([]byte, 100)
		n, err := response.Body.Read(data)
		if err != nil {
			assert.ErrorIs(w.t, err, io.EOF, "it ends, it does not break")
			closeBody()
			return "", false
		}
		return string(data[len("data: ") : n-2]), true
	}}
}

func (w *world) openSocket(token string) *stream {
	conn, _, err := websocket.Dial(w.t.Context(), "http://api.example.org/", &websocket.DialOptions{
		HTTPClient: w.client, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	require.NoError(w.t, err)
	return &stream{close: func() { assert.NoError(w.t, conn.CloseNow()) }, next: func() (string, bool) {
		_, message, err := conn.Read(w.t.Context())
		if err != nil {
			assert.Equal(w.t, unauthorized, websocket.CloseStatus(err), err)
			return "", false
		}
		return string(message), true
	}}
}

// assertServed sends a message and sees it arrive.
func (w *world) assertServed(s *stream) {
	w.t.Helper()
	go func() { w.messages <- "hello" }()
	message, going := s.next()
	assert.True(w.t, going)
	assert.Equal(w.t, "hello", message)
}

// assertEnds waits for the end, and returns how long it took.
func (w *world) assertEnds(s *stream) time.Duration {
	w.t.Helper()
	before := time.Now()
	message, going := s.next()
	assert.False(w.t, going, message)
	took := time.Since(before)
	<-w.returned
	return took
}

func TestStreamEndsWithItsToken(t *testing.T) {
	eachStream(t, func(t *testing.T, w *world, open func(string) *stream) {
		token := w.Token(w.Account("ada"))
		time.Sleep(10 * time.Second) // so that no check coincides with the expiry
		s := open(token.AccessToken)
		w.assertServed(s)
		time.Sleep(14*time.Minute - 10*time.Second)
		w.assertServed(s)
		_, err := w.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: token.RefreshToken})
		require.NoError(t, err)
		assert.Equal(t, time.Minute, w.assertEnds(s), "new tokens do not prolong it")
	})
}

func TestStreamEndsSoonAfterItsSession(t *testing.T) {
	for name, end := range map[string]func(w *world, ada *store.Account, session string) error{
		"session ended": func(w *world, ada *store.Account, session string) error {
			return w.Accounts.EndSession(w.t.Context(), ada.ID, session)
		},
		"password set": func(w *world, ada *store.Account, _ string) error {
			return w.Accounts.SetPassword(w.t.Context(), ada.ID, "nine-other-kettles-at-noon")
		},
		"account disabled": func(w *world, ada *store.Account, _ string) error {
			return w.Accounts.Disable(w.t.Context(), ada.ID)
		},
		"account removed": func(w *world, ada *store.Account, _ string) error {
			return w.Accounts.Remove(w.t.Context(), ada.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStream(t, func(t *testing.T, w *world, open func(string) *stream) {
				ada := w.Account("ada")
				token := w.Token(ada)
				s := open(token.AccessToken)
				time.Sleep(5 * time.Minute)
				w.assertServed(s)
				require.NoError(t, end(w, ada, token.SessionID))
				assert.LessOrEqual(t, w.assertEnds(s), checkEvery)
			})
		})
	}
}

func TestStreamOutlivesAnOutage(t *testing.T) {
	eachStream(t, func(t *testing.T, w *world, open func(string) *stream) {
		token := w.Token(w.Account("ada"))
		time.Sleep(10 * time.Second)
		s := open(token.AccessToken)
		w.down.Store(true)
		time.Sleep(10*time.Minute - 10*time.Second)
		w.assertServed(s)
		assert.Equal(t, 5*time.Minute, w.assertEnds(s), "but not its token")
	})
}

// TestEventsEndWithTheirServer: else Shutdown would wait for them.
func TestEventsEndWithTheirServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, messages: make(chan string), returned: make(chan struct{})}
		w.Kit = middlewaretest.New(t, middlewaretest.Config{Now: time.Now})
		ending, end := context.WithCancel(t.Context())
		defer w.serve(endingWith(ending, events(w.Auth, w.messages)))()
		s := w.openEvents(w.Token(w.Account("ada")).AccessToken)
		w.assertServed(s)
		end()
		assert.Zero(t, w.assertEnds(s))
	})
}

// TestStreamEndsWithItsClient: else each closed tab would leave a goroutine behind.
func TestStreamEndsWithItsClient(t *testing.T) {
	eachStream(t, func(t *testing.T, w *world, open func(string) *stream) {
		s := open(w.Token(w.Account("ada")).AccessToken)
		w.assertServed(s)
		before := time.Now()
		s.close()
		<-w.returned
		assert.Less(t, time.Since(before), time.Minute)
	})
}

func TestStreamNeedsAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, handler := range []func(*middleware.Authenticator, <-chan string) http.Handler{events, socket} {
			w := &world{t: t, returned: make(chan struct{})}
			w.Kit = middlewaretest.New(t, middlewaretest.Config{Now: time.Now})
			stop := w.serve(handler(w.Auth, nil))
			response, err := w.client.Get("http://api.example.org/")
			require.NoError(t, err)
			assert.NoError(t, response.Body.Close())
			assert.Equal(t, 401, response.StatusCode)
			stop()
		}
	})
}

// TestSocketOfAnotherOriginIsRefused: a page of a stranger could use a cookie.
func TestSocketOfAnotherOriginIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, returned: make(chan struct{})}
		w.Kit = middlewaretest.New(t, middlewaretest.Config{Now: time.Now, Middleware: func(c *middleware.Config) { c.Cookie = "access" }})
		stop := w.serve(socket(w.Auth, nil))
		defer stop()
		_, response, err := websocket.Dial(t.Context(), "http://api.example.org/", &websocket.DialOptions{
			HTTPClient: w.client, HTTPHeader: http.Header{
				"Cookie": {"access=" + w.Token(w.Account("ada")).AccessToken}, "Origin": {"https://stranger.example.com"},
			},
		})
		require.Error(t, err)
		require.NotNil(t, response)
		assert.Equal(t, 403, response.StatusCode)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		assert.Contains(t, string(body), "stranger.example.com", "it is Accept that refuses: the request is a GET")
	})
}
