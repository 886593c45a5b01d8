// Package streams has two streams that end when their caller may no longer be served. It
// is an example to copy, not a package to import.
package streams

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/oauthsv/oauthsv/middleware"
)

// checkEvery is how long a stream may go on after its session has ended.
const checkEvery = 30 * time.Second

// whileAllowed returns a context for the stream that answers r. It ends when the access
// token expires, when a check finds that its session or account is gone, and with ctx.
func whileAllowed(ctx context.Context, auth *middleware.Authenticator, r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := untilExpiry(ctx)
	go func() {
		ticker := time.NewTicker(checkEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if refused(auth, r.WithContext(ctx)) {
					cancel()
					return
				}
			}
		}
	}()
	return ctx, cancel
}

func untilExpiry(ctx context.Context) (context.Context, context.CancelFunc) {
	expiry, _ := middleware.Expiry(ctx)
	if expiry.IsZero() { // an introspection endpoint may leave it out
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, expiry)
}

// refused asks again. An outage refuses nobody: the stream then ends with its token.
func refused(auth *middleware.Authenticator, r *http.Request) bool {
	_, err := auth.AuthenticateRequest(r)
	var answer *middleware.Error
	return errors.As(err, &answer) && answer.Status != http.StatusServiceUnavailable
}

// events streams messages as Server-Sent Events.
func events(auth *middleware.Authenticator, messages <-chan string) http.Handler {
	return auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := whileAllowed(r.Context(), auth, r)
		defer cancel()
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		stream := http.NewResponseController(w)
		for {
			if err := stream.Flush(); err != nil {
				return
			}
			var message string
			select {
			case <-ctx.Done():
			case message = <-messages:
			}
			// WriteTimeout of the server has passed, and the end must be written as well.
			if err := stream.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
				return
			}
			if ctx.Err() != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", message); err != nil {
				return
			}
		}
	}))
}

// unauthorized is the status of RFC 6455 section 7.4.2 with which a socket is closed when
// its caller must log in again.
const unauthorized websocket.StatusCode = 3000

// socket sends messages over a WebSocket.
func socket(auth *middleware.Authenticator, messages <-chan string) http.Handler {
	return auth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // Accept has answered
		}
		defer conn.CloseNow()
		// The server no longer watches the connection, so CloseRead must.
		ctx, cancel := whileAllowed(conn.CloseRead(r.Context()), auth, r)
		defer cancel()
		for {
			select {
			case <-ctx.Done():
				conn.Close(unauthorized, "log in again")
				return
			case message := <-messages:
				if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
					return
				}
			}
		}
	}))
}
