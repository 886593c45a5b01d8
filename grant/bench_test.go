package grant_test

import (
	"context"
	"testing"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

// BenchmarkReport reports an event to a function that does nothing, so it shows what the
// Server itself adds to each event: the time, the tidy origin and the count.
func BenchmarkReport(b *testing.B) {
	kit := middlewaretest.New(b, middlewaretest.Config{Grant: func(config *grant.Config) {
		config.Event = func(context.Context, grant.Event) {}
	}})
	event := grant.Event{Type: grant.EventTokenRefreshed, Origin: grant.Origin{ClientID: "app", Address: "192.0.2.1"}}
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			kit.Server.Report(b.Context(), event)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(each *testing.PB) {
			for each.Next() {
				kit.Server.Report(b.Context(), event)
			}
		})
	})
}
