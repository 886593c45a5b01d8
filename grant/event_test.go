package grant_test

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/memstore"
)

// TestEventsAreLogged: by default failures, evictions and reuse are warnings, and the others
// information. Every field of an event is in its line.
func TestEventsAreLogged(t *testing.T) {
	var log bytes.Buffer
	server, _ := newServer(t, memstore.New(), func(c *grant.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	warnings := map[grant.EventType]bool{
		grant.EventLoginFailed: true, grant.EventLoginThrottled: true, grant.EventLoginRefused: true, grant.EventIssueFailed: true,
		grant.EventRefreshTokenReused: true, grant.EventRefreshFailed: true, grant.EventSessionEvicted: true,
		grant.EventPasswordCheckFailed: true, grant.EventPasswordCheckThrottled: true, grant.EventMailThrottled: true,
		grant.EventBackupFailed: true,
	}
	account, actor := store.NewID(), store.NewID()
	for kind := range server.Counts() {
		log.Reset()
		server.Report(t.Context(), grant.Event{
			Type: kind, AccountID: account, ActorID: actor, SessionID: "s", Reason: "r",
			Origin: grant.Origin{ClientID: "app", Address: "192.0.2.1", UserAgent: "curl"},
		})
		level := "INFO"
		if warnings[kind] {
			level = "WARN"
		}
		assert.True(t, strings.HasSuffix(log.String(), " level="+level+" msg="+string(kind)+" account_id="+account.Hex()+" actor_id="+actor.Hex()+
			" session_id=s client_id=app address=192.0.2.1 user_agent=curl reason=r\n"), log.String())
	}
}

// TestEventsAreClean: what a request says is cut to 256 bytes and holds nothing that forges a line,
// moves a cursor or turns the direction of writing.
func TestEventsAreClean(t *testing.T) {
	var events []grant.Event
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) {
		c.Event = func(_ context.Context, event grant.Event) { events = append(events, event) }
	}})
	for dirty, clean := range map[string]string{
		"curl":                                 "curl",
		"a\x1b[2J\r\nb\x00\u202e\u2028\ufeffc": "a[2Jbc",
		"\xff\xfea":                            "a",
		strings.Repeat("x", 255) + "\u00e9":    strings.Repeat("x", 255), // no half of a letter is left
		strings.Repeat("\u00e9", 200):          strings.Repeat("\u00e9", 128),
	} {
		origin := grant.Origin{ClientID: "app\n", Address: dirty, UserAgent: dirty}
		want := grant.Origin{ClientID: "default", Address: clean, UserAgent: clean}
		events = nil
		k.Server.Report(t.Context(), grant.Event{Type: grant.EventMailThrottled, Origin: origin, Reason: dirty})
		tokens, err := k.Server.Issue(t.Context(), k.account.ID, origin)
		require.NoError(t, err)
		require.NoError(t, k.Server.Revoke(t.Context(), tokens.RefreshToken, origin))
		require.Len(t, events, 3)
		assert.Equal(t, clean, events[0].Reason)
		for _, event := range events {
			assert.Equal(t, want, event.Origin, event.Type)
			assert.Equal(t, k.Now(), event.Time)
		}
	}
}

// TestEventsOfASession: each says which client of which session it was, and where it came from.
func TestEventsOfASession(t *testing.T) {
	var events []grant.Event
	k := newKit(t, middlewaretest.Config{
		Grant: func(c *grant.Config) {
			c.Event = func(_ context.Context, event grant.Event) { events = append(events, event) }
			c.ClientAddress = func(*http.Request) string { return "192.0.2.1" }
		},
	})
	headers := []string{"User-Agent", "curl"}
	post := func(path, form string) answer { return k.post(path, form, headers...) }
	only := func(kind grant.EventType, session string) {
		t.Helper()
		require.Len(t, events, 1)
		assert.Equal(t, grant.Event{
			Type: kind, Time: k.Now(), AccountID: k.account.ID, SessionID: session,
			Origin: grant.Origin{ClientID: "app", Address: "192.0.2.1", UserAgent: "curl"},
		}, events[0])
		events = nil
	}
	login := func() (refresh, session string) {
		got := post("/token", passwordForm+"&client_id=app")
		require.Equal(t, 200, got.status, got.body)
		refresh = got.json(t)["refresh_token"].(string)
		claims, err := k.Issuer.VerifyRefresh(refresh)
		require.NoError(t, err)
		return refresh, claims.SessionID
	}
	refresh, session := login()
	only(grant.EventLoginSucceeded, session)
	k.Sleep(time.Minute)
	require.Equal(t, 200, post("/token", refreshForm(refresh)).status, "the client is that of the token")
	only(grant.EventTokenRefreshed, session)
	require.Equal(t, 200, post("/token", refreshForm(refresh)).status)
	only(grant.EventRefreshTokenReplayed, session)
	k.Sleep(time.Minute)
	require.Equal(t, 200, post("/token", refreshForm(refresh)).status)
	only(grant.EventRefreshTokenRecovered, session)
	require.Equal(t, 200, post("/revoke", "token="+refresh).status)
	only(grant.EventSessionRevoked, session)
}

// TestEachEvictionIsAnEvent: more than one session ends where MaxSessions was lowered.
func TestEachEvictionIsAnEvent(t *testing.T) {
	backend := memstore.New()
	k := newKit(t, middlewaretest.Config{Backend: backend})
	var want []string
	for range 3 {
		want = append(want, k.Token(k.account).SessionID)
	}
	var evicted []string
	lowered := middlewaretest.New(t, middlewaretest.Config{
		Backend: backend,
		Store:   func(c *store.Config) { c.MaxSessions = 1 },
		Grant: func(c *grant.Config) {
			c.Event = func(_ context.Context, event grant.Event) {
				if event.Type == grant.EventSessionEvicted {
					evicted = append(evicted, event.SessionID)
					assert.Equal(t, k.account.ID, event.AccountID)
					assert.Equal(t, grant.Origin{ClientID: "app", Address: "192.0.2.1"}, event.Origin)
				}
			}
		},
	})
	_, err := lowered.Server.Issue(t.Context(), k.account.ID, grant.Origin{ClientID: "app", Address: "192.0.2.1"})
	require.NoError(t, err)
	assert.Equal(t, want, evicted)
}

// TestReuseSeenElsewhereHasItsTime: a process without a Server has no clock of one.
func TestReuseSeenElsewhereHasItsTime(t *testing.T) {
	var told []grant.Event
	ref := store.SessionRef{AccountID: store.NewID(), SessionID: "s", Generation: 1}
	before := time.Now()
	grant.TokenReused(func(_ context.Context, event grant.Event) { told = append(told, event) })(t.Context(), ref)
	require.Len(t, told, 1)
	assert.WithinRange(t, told[0].Time, before, time.Now())
	assert.Equal(t, grant.Event{
		Type: grant.EventRefreshTokenReused, Time: told[0].Time, AccountID: ref.AccountID, SessionID: "s", Reason: store.ErrSuperseded.Error(),
	}, told[0])
}

// TestFailedLoginSaysWhy: to the operator, while all clients learn one and the same.
func TestFailedLoginSaysWhy(t *testing.T) {
	var events []grant.Event
	k := newKit(t, middlewaretest.Config{
		Store: func(c *store.Config) { c.Throttle.FreeFailures = 1 },
		Grant: func(c *grant.Config) {
			c.Event = func(_ context.Context, event grant.Event) { events = append(events, event) }
		},
	})
	off := k.Account("off")
	require.NoError(t, k.Accounts.Disable(t.Context(), off.ID))
	for _, test := range []struct {
		username, password string
		kind               grant.EventType
		account            store.ID
		reason             string
	}{
		{"nobody", "x", grant.EventLoginFailed, store.NilID, "unknown name"},
		{"ada", "x", grant.EventLoginFailed, k.account.ID, "wrong password"},
		{"off", middlewaretest.Password, grant.EventLoginFailed, off.ID, store.ErrDisabled.Error()},
		{"ada", middlewaretest.Password, grant.EventLoginThrottled, store.NilID, "too many"},
	} {
		events = nil
		_, err := k.Server.Password(t.Context(), grant.PasswordRequest{Username: test.username, Password: test.password})
		require.Error(t, err)
		require.Len(t, events, 1)
		assert.Equal(t, []any{test.kind, test.account}, []any{events[0].Type, events[0].AccountID}, test.username)
		assert.Contains(t, events[0].Reason, test.reason)
	}
}

// TestFailedRefreshSaysWhoseItWas: as far as the token is known to be genuine.
func TestFailedRefreshSaysWhoseItWas(t *testing.T) {
	var events []grant.Event
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) {
		c.Event = func(_ context.Context, event grant.Event) { events = append(events, event) }
	}})
	ended, err := k.Server.Issue(t.Context(), k.account.ID, grant.Origin{ClientID: "app"})
	require.NoError(t, err)
	alive, err := k.Server.Issue(t.Context(), k.account.ID, grant.Origin{ClientID: "app"})
	require.NoError(t, err)
	require.NoError(t, k.Accounts.EndSession(t.Context(), k.account.ID, ended.SessionID))
	for name, test := range map[string]struct {
		token, client string
		want          grant.Event
	}{
		"garbage":        {"x", "app", grant.Event{Reason: "tokens: malformed token: it does not have three segments"}},
		"another client": {alive.RefreshToken, "other", grant.Event{SessionID: alive.SessionID, Reason: "grant: the token was issued to another client"}},
		"ended":          {ended.RefreshToken, "", grant.Event{AccountID: k.account.ID, SessionID: ended.SessionID, Reason: store.ErrSessionEnded.Error()}},
	} {
		events = nil
		_, err := k.Server.Refresh(t.Context(), grant.RefreshRequest{RefreshToken: test.token, Origin: grant.Origin{ClientID: test.client, UserAgent: "curl"}})
		require.Error(t, err, name)
		test.want.Type, test.want.Time = grant.EventRefreshFailed, k.Now()
		test.want.Origin = grant.Origin{ClientID: cmp.Or(test.client, "app"), UserAgent: "curl"}
		assert.Equal(t, []grant.Event{test.want}, events, name)
	}
}

// TestRefusedLoginSaysWhere: the password was right, so an operator may want to know.
func TestRefusedLoginSaysWhere(t *testing.T) {
	var events []grant.Event
	k := newKit(t, middlewaretest.Config{Grant: func(c *grant.Config) {
		c.Event = func(_ context.Context, event grant.Event) { events = append(events, event) }
		c.Approve = func(context.Context, *store.Account, grant.PasswordRequest) error {
			return &grant.Error{Code: "mfa_required"}
		}
	}})
	origin := grant.Origin{ClientID: "app", Address: "192.0.2.1", UserAgent: "curl"}
	_, err := k.Server.Password(t.Context(), grant.PasswordRequest{Username: "ada", Password: middlewaretest.Password, Origin: origin})
	require.Error(t, err)
	assert.Equal(t, []grant.Event{{
		Type: grant.EventLoginRefused, Time: k.Now(), AccountID: k.account.ID, Origin: origin, Reason: "mfa_required",
	}}, events)
}
