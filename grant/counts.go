package grant

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/oauthsv/oauthsv/store"
)

// Counts returns how many events of each type the Server has reported since it was made,
// those of [Server.Report] and [Server.TokenReused] included. Each type of this package is
// there, with 0 if nothing of it has happened.
func (s *Server) Counts() map[EventType]int64 {
	counts := make(map[EventType]int64, len(eventTypes))
	for eventType, count := range s.counters.known {
		counts[eventType] = count.Load()
	}
	s.counters.others.Range(func(eventType, count any) bool {
		counts[eventType.(EventType)] = count.(*atomic.Int64).Load()
		return true
	})
	return counts
}

// TokenReused reports that the middleware has seen an access token of a void generation.
// Set middleware.Config.TokenReused to it, so that the event is counted with the others.
// See the function [TokenReused] for a process that has no Server.
func (s *Server) TokenReused(ctx context.Context, ref store.SessionRef) {
	s.event(ctx, superseded(ref))
}

// counters count events by their type.
type counters struct {
	// known has the types of this package, and never changes.
	known map[EventType]*atomic.Int64
	// others has the types of whoever calls Server.Report.
	others sync.Map // from EventType to *atomic.Int64
}

func newCounters() counters {
	known := make(map[EventType]*atomic.Int64, len(eventTypes))
	for _, eventType := range eventTypes {
		known[eventType] = new(atomic.Int64)
	}
	return counters{known: known}
}

func (c *counters) count(eventType EventType) {
	count := c.known[eventType]
	if count == nil {
		other, _ := c.others.LoadOrStore(eventType, new(atomic.Int64))
		count = other.(*atomic.Int64)
	}
	count.Add(1)
}

// eventTypes are all types of this package.
var eventTypes = []EventType{
	EventLoginSucceeded, EventLoginFailed, EventLoginThrottled, EventLoginRefused, EventSessionIssued,
	EventIssueFailed, EventTokenRefreshed, EventRefreshTokenReplayed, EventRefreshTokenRecovered,
	EventRefreshTokenReused, EventRefreshFailed, EventSessionEvicted, EventSessionRevoked,
	EventPasswordCheckFailed, EventPasswordCheckThrottled, EventMailThrottled, EventAccountCreated,
	EventAccountRemoved, EventAccountChanged, EventPasswordChanged, EventPasswordReset, EventEmailChanged,
	EventGroupAdded, EventGroupRemoved, EventAccountUnblocked, EventTokensIssued, EventBackupMade,
	EventBackupFailed,
}
