package admin_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/admin"
	"github.com/oauthsv/oauthsv/internal/mongotest"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/boltstore"
)

// writerTo is a store that writes its copy with a function.
type writerTo func(io.Writer) (int64, error)

func (f writerTo) WriteTo(w io.Writer) (int64, error) { return f(w) }

// openBackup begins a backup and returns the response, of which nothing is read.
func (k *kit) openBackup(transport *http.Transport) (*http.Response, error) {
	k.t.Helper()
	request, err := http.NewRequestWithContext(k.t.Context(), "GET", k.web.URL+"/admin/backup", nil)
	require.NoError(k.t, err)
	request.Header.Set("Authorization", "Bearer "+k.token)
	request.Header.Set("User-Agent", userAgent)
	k.t.Cleanup(transport.CloseIdleConnections)
	response, err := transport.RoundTrip(request)
	if err == nil {
		k.t.Cleanup(func() { _ = response.Body.Close() })
	}
	return response, err
}

// waitForEvent waits for something to happen in a handler that has not returned.
func (k *kit) waitForEvent() {
	k.t.Helper()
	select {
	case <-k.arrived:
	case <-time.After(30 * time.Second):
		require.Fail(k.t, "nothing happens: the backup hangs")
	}
}

// forgetEvents forgets all events.
func (k *kit) forgetEvents() {
	k.takeEvents()
	for len(k.arrived) > 0 {
		<-k.arrived
	}
}

// openBolt opens a file in a directory of the test.
func openBolt(t *testing.T) *boltstore.Store {
	t.Helper()
	backend, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = backend.Close() })
	return backend
}

// TestBackupUnderLoad downloads copies while others make accounts. A copy holds each account
// that was answered before the request.
func TestBackupUnderLoad(t *testing.T) {
	backend := openBolt(t)
	k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{Backup: backend})
	var answered sync.Map
	var count atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	for writer := range 8 {
		all.Go(func() {
			for i := 0; !stop.Load(); i++ {
				name := fmt.Sprintf("a-%d-%d", writer, i)
				account, err := k.Accounts.Create(t.Context(), store.NewAccount{Name: name, Email: name + "@example.org", NoPassword: true})
				if assert.NoError(t, err) {
					answered.Store(name, account)
					count.Add(1)
				}
			}
		})
	}
	defer all.Wait()
	defer stop.Store(true)
	for round := range 3 {
		for count.Load() < int64(round+1)*50 { // the writers are at work
			time.Sleep(time.Millisecond)
		}
		before := map[string]*store.Account{}
		answered.Range(func(name, account any) bool {
			before[name.(string)] = account.(*store.Account)
			return true
		})
		k.forgetEvents()
		response, err := k.openBackup(&http.Transport{})
		require.NoError(t, err)
		assert.Equal(t, 200, response.StatusCode)
		assert.Equal(t, "application/octet-stream", response.Header.Get("Content-Type"))
		assert.Equal(t, "no-store", response.Header.Get("Cache-Control"))
		assert.Equal(t, `attachment; filename="accounts.db"`, response.Header.Get("Content-Disposition"))
		copied := filepath.Join(t.TempDir(), "copy.db")
		file, err := os.Create(copied)
		require.NoError(t, err)
		_, err = io.Copy(file, response.Body)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		k.onlyEvent(grant.EventBackupMade, store.NilID, "")

		restored, err := boltstore.Open(copied, boltstore.Config{})
		require.NoError(t, err)
		for name, account := range before {
			found, err := restored.FindByName(t.Context(), name)
			require.NoError(t, err)
			assert.Equal(t, account, found)
		}
		require.NoError(t, restored.Close())
	}
}

func TestNoBackup(t *testing.T) {
	mongotest.EachStore(t, func(t *testing.T, backend store.Backend) {
		to, can := backend.(io.WriterTo)
		_, isBolt := backend.(*boltstore.Store)
		require.Equal(t, isBolt, can)
		k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{Backup: to})
		if !can {
			k.assertProblem(k.call("GET", "/admin/backup", nil), 501, grant.ProblemNotConfigured, "")
			assert.Equal(t, 501, k.call("HEAD", "/admin/backup", nil).status)
			assert.Empty(t, k.takeEvents())
		}
	})
}

// TestHeadIsNoBackup checks that a request for the headers copies nothing.
func TestHeadIsNoBackup(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{Backup: writerTo(func(w io.Writer) (int64, error) {
		t.Error("the store was copied")
		return 0, nil
	})})
	got := k.call("HEAD", "/admin/backup", nil)
	assert.Equal(t, 200, got.status)
	assert.Equal(t, "application/octet-stream", got.header.Get("Content-Type"))
	assert.Empty(t, k.takeEvents())
}

// TestFailedBackup checks that no part of a copy looks like a whole one.
func TestFailedBackup(t *testing.T) {
	failure := errors.New("the disk is gone")
	for _, written := range []int{0, 1, 4096, 1 << 20} {
		t.Run(fmt.Sprint(written), func(t *testing.T) {
			k := newKit(t, middlewaretest.Config{}, admin.Config{Backup: writerTo(func(w io.Writer) (int64, error) {
				if written == 0 {
					return 0, failure
				}
				n, err := w.Write(make([]byte, written))
				return int64(n), errors.Join(failure, err)
			})})
			if written == 0 {
				got := k.call("GET", "/admin/backup", nil)
				k.assertProblem(got, 503, grant.ProblemUnavailable, "")
				assert.Empty(t, got.header.Get("Content-Disposition"))
				assert.NotContains(t, got.body, "disk")
			} else if response, err := k.openBackup(&http.Transport{}); err == nil { // else the connection ended before the header
				text, err := io.ReadAll(response.Body)
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
				assert.LessOrEqual(t, len(text), written)
			}
			k.waitForEvent()
			k.onlyEvent(grant.EventBackupFailed, store.NilID, failure.Error())
		})
	}
}

// TestBackupOverHTTP10 is refused: HTTP/1.0 ends an answer by closing the connection, so a copy
// that breaks off would look whole. Some proxies speak it by default.
func TestBackupOverHTTP10(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{Backup: writerTo(func(w io.Writer) (int64, error) {
		n, _ := io.WriteString(w, "part")
		return int64(n), errors.New("the disk is gone")
	})})
	connection, err := net.Dial("tcp", k.web.Listener.Addr().String())
	require.NoError(t, err)
	defer connection.Close()
	_, err = fmt.Fprintf(connection, "GET /admin/backup HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n", k.token)
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	k.assertProblem(answer{response.StatusCode, response.Header, string(text)}, 426, grant.ProblemRefusedRequest, "")
	assert.Equal(t, "HTTP/1.1", response.Header.Get("Upgrade"))
	assert.Empty(t, response.Header.Get("Content-Disposition"))
	assert.Empty(t, k.takeEvents())
}

// TestBackupThroughAnotherWriter: a middleware may hand on a writer that knows no deadlines.
func TestBackupThroughAnotherWriter(t *testing.T) {
	k := newKit(t, middlewaretest.Config{}, admin.Config{Backup: writerTo(func(w io.Writer) (int64, error) {
		n, err := io.WriteString(w, "whole")
		return int64(n), err
	})})
	recorder := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/admin/backup", nil)
	r.Header.Set("Authorization", "Bearer "+k.token)
	k.web.Config.Handler.ServeHTTP(recorder, r)
	assert.Equal(t, []any{200, "whole"}, []any{recorder.Code, recorder.Body.String()})
}

// TestSlowBackupIsNotCut has a server that gives an answer less time than the copy takes.
func TestSlowBackupIsNotCut(t *testing.T) {
	const writeTimeout = 20 * time.Millisecond
	var size int64
	slow := writerTo(func(w io.Writer) (n int64, err error) {
		for begun := time.Now(); time.Since(begun) < 5*writeTimeout && err == nil; size = n {
			var part int
			part, err = w.Write(make([]byte, 32<<10))
			n += int64(part)
			time.Sleep(writeTimeout / 4)
		}
		return n, err
	})
	k := newKit(t, middlewaretest.Config{}, admin.Config{Backup: slow}, func(web *httptest.Server) {
		web.Config.WriteTimeout = writeTimeout
	})
	response, err := k.openBackup(&http.Transport{})
	require.NoError(t, err)
	n, err := io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	assert.Equal(t, size, n)
	k.onlyEvent(grant.EventBackupMade, store.NilID, "")
}

const narrow = 32 << 10 // bytes of a buffer

// A narrow connection takes little before it has to be read, and its time for writing goes by
// 60 times as fast.
type narrowListener struct{ net.Listener }

type narrowConnection struct{ *net.TCPConn }

func (l narrowListener) Accept() (net.Conn, error) {
	connection, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp := connection.(*net.TCPConn)
	return narrowConnection{tcp}, tcp.SetWriteBuffer(narrow)
}

func (c narrowConnection) SetWriteDeadline(deadline time.Time) error {
	if !deadline.IsZero() {
		deadline = time.Now().Add(time.Until(deadline) / 60)
	}
	return c.TCPConn.SetWriteDeadline(deadline)
}

// dialNarrow makes a connection that takes little before the client reads it.
func dialNarrow(ctx context.Context, network, address string) (net.Conn, error) {
	connection, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		err = connection.(*net.TCPConn).SetReadBuffer(narrow)
	}
	return connection, err
}

// TestClientLeavesBackup checks that a client that stops reading, or hangs up, stops no writer,
// and keeps nothing of the store: its Close waits for each copy.
func TestClientLeavesBackup(t *testing.T) {
	for name, leave := range map[string]func(*http.Response){
		"stops reading": func(*http.Response) {},
		"hangs up":      func(response *http.Response) { _ = response.Body.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			backend := openBolt(t)
			var all sync.WaitGroup
			for i := range 500 { // more than the connection takes
				all.Go(func() {
					assert.NoError(t, backend.UpdateRecord(t.Context(), fmt.Sprint(i), time.Now(), func(r *store.Record) error {
						r.Value, r.Expires = make([]byte, 4096), time.Now().Add(time.Hour)
						return nil
					}))
				})
			}
			all.Wait()
			k := newKit(t, middlewaretest.Config{Backend: backend}, admin.Config{Backup: backend}, func(web *httptest.Server) {
				web.Listener = narrowListener{web.Listener}
			})
			k.forgetEvents()
			response, err := k.openBackup(&http.Transport{DialContext: dialNarrow})
			require.NoError(t, err)
			_, err = io.ReadFull(response.Body, make([]byte, 4096))
			require.NoError(t, err)
			leave(response)
			k.Account("meanwhile")
			k.waitForEvent()
			events := k.takeEvents()
			require.Len(t, events, 1)
			assert.NotEmpty(t, events[0].Reason)
			k.assertEvent(events[0], grant.EventBackupFailed, store.NilID, events[0].Reason)
			_, err = io.Copy(io.Discard, response.Body)
			assert.Error(t, err, "not a whole copy")
			k.Account("after")
			require.NoError(t, backend.Close())
		})
	}
}
