package streams

import (
	"fmt"
	"net/http"
	"time"

	"github.com/oauthsv/oauthsv/middleware"
)

// writeTimeout ends a stream whose client does not read.
const writeTimeout = 10 * time.Second

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
			if err := stream.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
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
