// Command example_server is the whole kit in one process: the token endpoint, a
// few protected resources, and the account store of your choice.
//
//	go run ./example_server
//
// It needs no database and no configuration. Run it with -help for its flags,
// "example_server keys -help" for how keys are rotated, and "example_server accounts -help"
// for administration. On SIGHUP the server reads the key file again. A SIGHUP during the
// start is remembered.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "example_server:", err)
		os.Exit(1)
	}
}

// run serves until the context ends and the requests in flight are answered.
func run(ctx context.Context, arguments []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	if len(arguments) > 0 {
		switch arguments[0] {
		case "keys":
			return runKeys(arguments[1:], getenv, stdout, stderr)
		case "accounts":
			return runAccounts(ctx, arguments[1:], getenv, os.Stdin, stdout, stderr)
		case "backup":
			return runBackup(ctx, arguments[1:], getenv, stderr)
		}
	}
	// Nothing undoes this: a SIGHUP must not end the process while it starts or
	// closes the store either.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	settings, err := parseSettings(arguments, getenv, stderr)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))

	listener, err := listen(ctx, "addr", settings.addr)
	if err != nil {
		return err
	}
	defer listener.Close()
	if err := settings.chooseIssuer(listener.Addr(), logger); err != nil {
		return err
	}
	metricsListener, err := listenForMetrics(ctx, settings)
	if err != nil {
		return err
	}
	if metricsListener != nil {
		defer metricsListener.Close()
	}
	app, err := newApplication(ctx, settings, logger, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.close()) }()
	defer serveMetrics(metricsListener, &app.metrics, logger)()

	server := &http.Server{
		Handler:           app.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	return serve(ctx, server, listener, hangup, app.reload, stdout)
}

// listen listens on the address that a flag names.
func listen(ctx context.Context, flagName, address string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	var malformed *net.AddrError
	switch {
	case errors.As(err, &malformed):
		return nil, fmt.Errorf("-%s %q: %s: write HOST:PORT, such as 127.0.0.1:8080; port 0 picks a free one", flagName, address, malformed.Err)
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("-%s %q: another program listens there: end it, or choose another port", flagName, address)
	case err != nil:
		return nil, fmt.Errorf("-%s %q: %w", flagName, address, err)
	}
	return listener, nil
}

// shutdownTimeout is how long requests in flight may take to finish; none takes
// longer than WriteTimeout.
const shutdownTimeout = 35 * time.Second

func serve(ctx context.Context, server *http.Server, listener net.Listener, hangup <-chan os.Signal, reload func(), stdout io.Writer) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "listening on http://%s\n", listener.Addr())
	for running := true; running; {
		select {
		case err := <-failed:
			return err
		case <-hangup:
			reload()
		case <-ctx.Done():
			running = false
		}
	}
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(timeout); err != nil {
		// A client that reads a backup slowly must not keep the process from ending.
		server.ErrorLog.Print("ended requests that took too long: ", err)
		return server.Close()
	}
	return nil
}
