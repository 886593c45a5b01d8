package streams

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/oauthsv/oauthsv/middleware"
)

// unauthorized closes a socket whose caller must log in again. The status is registered
// with IANA (RFC 6455 section 11.7).
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
			var message string
			select {
			case <-ctx.Done():
			case message = <-messages:
			}
			if ctx.Err() != nil {
				conn.Close(unauthorized, "log in again")
				return
			}
			if err := write(r.Context(), conn, message); err != nil {
				return
			}
		}
	}))
}

// write does not use the context of the stream: Write breaks the connection when its
// context ends, and the client would not learn why.
func write(ctx context.Context, conn *websocket.Conn, message string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, []byte(message))
}
