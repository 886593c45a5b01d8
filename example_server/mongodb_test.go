package main

import (
	"bytes"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mongostore"
)

// TestTwoProcesses: two servers over one database are one service.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	uri, directory := mongotest.URI(t), t.TempDir() // which holds the key file of both
	one, two := start(t, directory, "-store", uri), start(t, directory, "-store", uri)
	one.assertLogs("same key file")
	tokens := one.login()
	status, _ := two.get("/me", tokens.AccessToken)
	assert.Equal(t, 200, status)

	const refreshes = 64
	answers := make([]tokenResponse, refreshes)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			p := one
			if i%2 == 1 {
				p = two
			}
			answers[i] = p.refresh(tokens.RefreshToken)
		})
	}
	all.Wait()

	backend, err := mongostore.Open(t.Context(), uri, mongostore.Config{})
	require.NoError(t, err)
	defer backend.Close()
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	require.NoError(t, err)
	root, err := accounts.FindByName(t.Context(), "root")
	require.NoError(t, err)
	require.Len(t, root.Sessions, 1)
	assert.Equal(t, int64(2), root.Sessions[0].Generation, "moved by exactly one")

	for _, p := range []*process{one, two} {
		status, _ := p.get("/me", answers[refreshes-1].AccessToken)
		assert.Equal(t, 200, status)
	}
	require.NoError(t, accounts.EndSession(t.Context(), root.ID, root.Sessions[0].ID))
	for _, p := range []*process{one, two} {
		status, _ := p.get("/me", answers[0].AccessToken)
		assert.Equal(t, 401, status)
	}
}

// TestKillOverMongoDB: as over a file, a restart forgets nothing.
func TestKillOverMongoDB(t *testing.T) {
	uri, directory := mongotest.URI(t), t.TempDir()
	p := start(t, directory, "-store", uri)
	tokens := p.login()
	p.kill()
	p = start(t, directory, "-store", uri)
	status, _ := p.get("/me", tokens.AccessToken)
	assert.Equal(t, 200, status)
	status, _ = p.get("/readyz", "")
	assert.Equal(t, 200, status)
	refreshed := p.refresh(tokens.RefreshToken)
	assert.Equal(t, 0, p.stop(syscall.SIGTERM))
	p = start(t, directory, "-store", uri)
	p.refresh(refreshed.RefreshToken)
	assert.NotContains(t, p.stderr.String(), "made account")
}

func TestUnreachableMongoDB(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{
		"mongodb://127.0.0.1:1/oauthsv", "mongodb://user:hunter2@127.0.0.1:1/", "mongodb+srv:///x",
	} {
		command := command(t.TempDir(), nil, "-store", uri, "-addr", "127.0.0.1:0")
		var stderr bytes.Buffer
		command.Stderr = &stderr
		began := time.Now()
		require.Error(t, command.Run())
		assert.Equal(t, 1, command.ProcessState.ExitCode())
		assert.Less(t, time.Since(began), 15*time.Second, "10 s are promised; the rest is for a slow machine")
		assert.Contains(t, stderr.String(), "example_server: -store: mongostore: ")
		assert.NotContains(t, stderr.String(), "hunter2")
	}
}
