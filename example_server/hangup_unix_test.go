//go:build unix

package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/tokens"
)

// TestHangupNeverEndsTheServer: SIGHUP comes many times while the server starts,
// which a key file that is a pipe holds up, and while it shuts down. One that came
// during the start makes it read the key file again once it serves.
func TestHangupNeverEndsTheServer(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "server.key")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	newKey := func() (id string, text []byte) {
		key, err := tokens.GenerateKey(tokens.HS512)
		require.NoError(t, err)
		text, err = key.PrivateJWK()
		require.NoError(t, err)
		return key.ID(), text
	}
	_, first := newKey()
	second, secondText := newKey()

	p := launch(t, command(directory, nil, "-store", "memory:", "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1", "-key-file", path))
	var pipe *os.File
	require.Eventually(t, func() (opened bool) { // as soon as the server reads it
		var err error
		pipe, err = os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	}, 30*time.Second, time.Millisecond)
	for range 1000 {
		require.NoError(t, p.command.Process.Signal(syscall.SIGHUP))
	}
	other := filepath.Join(directory, "second.key")
	require.NoError(t, os.WriteFile(other, secondText, 0o600))
	require.NoError(t, os.Rename(other, path))
	_, err := pipe.Write(first)
	require.NoError(t, err)
	require.NoError(t, pipe.Close())
	p.listen()
	require.Eventually(t, func() bool {
		return strings.Contains(p.stderr.String(), `msg="reloaded the keys"`) && strings.Contains(p.stderr.String(), ` new="`+second+" ")
	}, 30*time.Second, time.Millisecond, "a hangup during the start is taken once it serves")
	p.login()

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for p.command.Process.Signal(syscall.SIGHUP) == nil {
		}
	}()
	assert.Equal(t, 0, p.stop(syscall.SIGTERM))
	<-ended
}

// TestHangupFromTheFirstMoment: a process that was started with SIGHUP ignored, as
// nohup does, lives through it before its own code runs, and takes it when it
// serves.
func TestHangupFromTheFirstMoment(t *testing.T) {
	signal.Ignore(syscall.SIGHUP) // the child inherits it
	defer signal.Reset(syscall.SIGHUP)
	p := launch(t, command(t.TempDir(), nil, "-store", "memory:", "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1"))
	listens := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		for {
			assert.NoError(t, p.command.Process.Signal(syscall.SIGHUP))
			select {
			case <-listens:
				return
			default:
			}
		}
	})
	p.listen()
	close(listens)
	flood.Wait()
	require.NoError(t, p.command.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool {
		return strings.Contains(p.stderr.String(), `msg="reloaded the keys"`)
	}, 30*time.Second, time.Millisecond)
	assert.Equal(t, 0, p.stop(syscall.SIGTERM))
}
