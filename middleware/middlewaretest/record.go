package middlewaretest

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"

	"github.com/oauthsv/oauthsv/grant"
)

// recorder keeps the types of events.
type recorder struct {
	mu    sync.Mutex
	types []grant.EventType
}

func (r *recorder) add(_ context.Context, event grant.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.types = append(r.types, event.Type)
}

func (r *recorder) take() []grant.EventType {
	r.mu.Lock()
	defer r.mu.Unlock()
	types := r.types
	r.types = nil
	return types
}

// testLogger writes to the log of the test until the test ends.
func testLogger(t testing.TB) *slog.Logger {
	log := &testLog{output: t.Output()}
	t.Cleanup(log.end)
	return slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// testLog writes to the output of a test. What comes after the end of the test is
// dropped: package testing would panic.
type testLog struct {
	mu     sync.Mutex
	output io.Writer
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.output.Write(p)
}

func (l *testLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.output = io.Discard
}
