// Package streams has two streams that end when their caller may no longer be served. It
// is an example to copy, not a package to import.
package streams

import (
	"context"
	"errors"
	"net/http"
	"time"

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

// endingWith ends the requests of a stream of events when a context ends.
// http.Server.Shutdown waits for requests, and a stream does not end by itself. So let
// http.Server.RegisterOnShutdown cancel the context.
func endingWith(ending context.Context, stream http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ending, cancel)()
		stream.ServeHTTP(w, r.WithContext(ctx))
	})
}
