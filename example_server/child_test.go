package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/grant/selfservice"
	"github.com/oauthsv/oauthsv/middleware"
	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/tokens"
)

// childVariable turns this test binary into a server, with the flags of example_server.
// The child has what the program must not have: passwords that cost microseconds, so
// that many logins happen in a short test, and an endpoint that tells of its memory.
const childVariable = "OAUTHSV_TEST_SERVER_CHILD"

// unlimited is more failed logins than a test makes. They are counted all the same.
const unlimited = 1 << 30

func runChild() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serveChild(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
}

func serveChild(ctx context.Context, arguments []string) error {
	s, err := parseSettings(arguments, os.Getenv, os.Stderr)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	listener, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	if err := s.chooseIssuer(listener.Addr(), logger); err != nil {
		return err
	}
	backend, closeBackend, err := openStore(ctx, s.store, logger)
	if err != nil {
		return err
	}
	handler, err := childHandler(s, backend, logger)
	if err != nil {
		return err
	}
	if err := serve(ctx, &http.Server{Handler: handler}, listener, nil, nil, os.Stdout); err != nil {
		return err
	}
	return closeBackend()
}

// childHandler is the wiring of newApplication, with cheap passwords.
func childHandler(s *settings, backend store.Backend, logger *slog.Logger) (http.Handler, error) {
	keys, err := tokens.OpenKeyring(tokens.KeyFile{Path: s.keyFile, Logger: logger})
	if err != nil {
		return nil, err
	}
	issuer, err := tokens.NewIssuer(tokens.IssuerConfig{
		Keys: keys, Issuer: s.issuer, Audience: s.audience,
		CacheBytes: 1 << 20, // a small cache is soon full, and then it must not grow
	})
	if err != nil {
		return nil, err
	}
	accounts, err := store.NewAccounts(store.Config{
		Backend: backend, Passwords: middlewaretest.Hasher(),
		Throttle:   store.Throttle{FreeFailures: unlimited, AddressFailures: unlimited, AddressPending: unlimited},
		RefreshTTL: s.refreshTTL, SessionTTL: s.sessionTTL, ReuseInterval: s.reuseInterval, LostReplyWindow: s.lostReplyWindow,
	})
	if err != nil {
		return nil, err
	}
	auth, err := middleware.New(middleware.Config{Verifier: issuer.Verifier(), Accounts: accounts, Logger: logger})
	if err != nil {
		return nil, err
	}
	server, err := grant.NewServer(grant.Config{
		Accounts: accounts, Issuer: issuer, AccessTTL: s.accessTTL, RecordOrigin: true, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	account, err := selfservice.New(selfservice.Config{Server: server, Auth: auth})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	server.Mount(mux)
	account.Mount(mux)
	mux.HandleFunc("GET /figures", serveFigures)
	return mux, nil
}

// figures is what a process tells of itself.
type figures struct {
	Goroutines int    `json:"goroutines"`
	Heap       uint64 `json:"heap"` // bytes in use after a collection
}

func serveFigures(w http.ResponseWriter, _ *http.Request) {
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	writeJSON(w, figures{runtime.NumGoroutine(), memory.HeapAlloc})
}

// startChild runs the child until it listens.
func startChild(t *testing.T, directory string, arguments ...string) *process {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	command := exec.Command(program, append(arguments, "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1")...)
	command.Dir = directory
	command.Env = []string{childVariable + "=1", "GORACE=halt_on_error=1"}
	return startCommand(t, command)
}

// accountName returns the name of an account of makeAccounts.
func accountName(i int) string { return fmt.Sprint("user-", i) }

// makeAccounts makes a store file with accounts that all have middlewaretest.Password.
// They share one hash, which the hasher makes.
func makeAccounts(t *testing.T, path string, hasher store.PasswordHasher, count int) {
	t.Helper()
	hash, err := hasher.Hash(t.Context(), middlewaretest.Password)
	require.NoError(t, err)
	backend, closeBackend, err := openStore(t.Context(), "bolt:"+path, slog.New(slog.NewTextHandler(io.Discard, nil)))
	require.NoError(t, err)
	accounts, err := store.NewAccounts(store.Config{Backend: backend})
	require.NoError(t, err)
	created := make(chan error)
	for i := range count {
		go func() {
			_, err := accounts.Create(t.Context(), store.NewAccount{
				Name: accountName(i), Email: accountName(i) + "@example.org", PasswordHash: hash,
			})
			created <- err
		}()
	}
	for range count {
		require.NoError(t, <-created)
	}
	require.NoError(t, closeBackend())
}

// number returns a number from the environment.
func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	if os.Getenv(variable) == "" {
		return otherwise
	}
	n, err := strconv.Atoi(os.Getenv(variable))
	require.NoError(t, err)
	return n
}

// duration returns a duration from the environment.
func duration(t *testing.T, variable string, otherwise time.Duration) time.Duration {
	t.Helper()
	if os.Getenv(variable) == "" {
		return otherwise
	}
	d, err := time.ParseDuration(os.Getenv(variable))
	require.NoError(t, err)
	return d
}
