package grant_test

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
)

// TestEachEventTypeStartsAtZero, so that its first event is seen as a change.
func TestEachEventTypeStartsAtZero(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "event.go", nil, 0)
	require.NoError(t, err)
	want := make(map[grant.EventType]int64)
	ast.Inspect(file, func(node ast.Node) bool {
		spec, isValue := node.(*ast.ValueSpec)
		if !isValue {
			return true
		}
		if name, isName := spec.Type.(*ast.Ident); isName && name.Name == "EventType" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			want[grant.EventType(text)] = 0
		}
		return true
	})
	require.NotEmpty(t, want)
	assert.Equal(t, want, middlewaretest.New(t, middlewaretest.Config{}).Server.Counts())
}

// TestEventsAreCounted, whoever is told of them.
func TestEventsAreCounted(t *testing.T) {
	for name, tell := range map[string]func(*grant.Config){
		"kit":     nil,
		"default": func(config *grant.Config) { config.Event = nil },
	} {
		t.Run(name, func(t *testing.T) {
			kit := middlewaretest.New(t, middlewaretest.Config{Grant: tell})
			kit.Account("ann")
			ctx := t.Context()
			before := kit.Server.Counts()
			counted := func(want map[grant.EventType]int64) {
				t.Helper()
				after, moved := kit.Server.Counts(), make(map[grant.EventType]int64)
				for eventType, count := range after {
					if count != before[eventType] {
						moved[eventType] = count - before[eventType]
					}
				}
				assert.Equal(t, want, moved)
				before = after
			}
			tokens, err := kit.Server.Password(ctx, grant.PasswordRequest{Username: "ann", Password: middlewaretest.Password})
			require.NoError(t, err)
			counted(map[grant.EventType]int64{grant.EventLoginSucceeded: 1})
			_, err = kit.Server.Password(ctx, grant.PasswordRequest{Username: "ann", Password: "wrong"})
			require.Error(t, err)
			counted(map[grant.EventType]int64{grant.EventLoginFailed: 1})
			_, err = kit.Server.Refresh(ctx, grant.RefreshRequest{RefreshToken: tokens.RefreshToken})
			require.NoError(t, err)
			counted(map[grant.EventType]int64{grant.EventTokenRefreshed: 1})
			_, err = kit.Server.Refresh(ctx, grant.RefreshRequest{RefreshToken: tokens.RefreshToken})
			require.NoError(t, err)
			counted(map[grant.EventType]int64{grant.EventRefreshTokenReplayed: 1})

			kit.Server.Report(ctx, grant.Event{Type: "coffee_made"})
			kit.Server.Report(ctx, grant.Event{Type: "coffee_made"})
			counted(map[grant.EventType]int64{"coffee_made": 2})
		})
	}
}

// TestReuseSeenByMiddlewareIsCounted: the method is what middleware.Config.TokenReused asks for.
func TestReuseSeenByMiddlewareIsCounted(t *testing.T) {
	var reported []grant.Event
	kit := middlewaretest.New(t, middlewaretest.Config{Grant: func(config *grant.Config) {
		config.Event = func(_ context.Context, event grant.Event) { reported = append(reported, event) }
	}})
	ref := store.SessionRef{AccountID: store.NewID(), SessionID: "s"}
	config := middleware.Config{TokenReused: kit.Server.TokenReused}
	config.TokenReused(t.Context(), ref)
	assert.Equal(t, []grant.Event{{
		Type: grant.EventRefreshTokenReused, Time: kit.Now(), AccountID: ref.AccountID, SessionID: "s", Reason: store.ErrSuperseded.Error(),
	}}, reported)
	assert.EqualValues(t, 1, kit.Server.Counts()[grant.EventRefreshTokenReused])
}

// TestNoEventIsCountedTwiceNorLost, with many goroutines and readers beside them.
func TestNoEventIsCountedTwiceNorLost(t *testing.T) {
	kit := middlewaretest.New(t, middlewaretest.Config{Grant: func(config *grant.Config) {
		config.Event = func(context.Context, grant.Event) {}
	}})
	const goroutines, each = 8, 500
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range each {
				kit.Server.Report(t.Context(), grant.Event{Type: grant.EventTokenRefreshed})
				kit.Server.Report(t.Context(), grant.Event{Type: "own"})
				kit.Server.Counts()
			}
		})
	}
	all.Wait()
	counts := kit.Server.Counts()
	assert.EqualValues(t, goroutines*each, counts[grant.EventTokenRefreshed])
	assert.EqualValues(t, goroutines*each, counts["own"])
}
