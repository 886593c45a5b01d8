package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/tokens"
)

// metrics are the parts of the kit that count what they do.
type metrics struct {
	server   *grant.Server
	verifier *tokens.Verifier
	hasher   *password.Hasher
	backend  *store.MeteredBackend
	mails    *mail.Queue // nil if no mail is configured
}

// text returns all figures in the text format 0.0.4 of Prometheus. Only programs and operators
// read it, so it may say more than /healthz: but it has no names, addresses or tokens.
func (m *metrics) text() []byte {
	var t metricsText
	t.family("oauthsv_events_total", "counter", "What happened, by type, as in the log.")
	events := m.server.Counts()
	for _, eventType := range slices.Sorted(maps.Keys(events)) {
		t.sample(events[eventType], "type", string(eventType))
	}

	verified := m.verifier.Counts()
	t.family("oauthsv_token_verifications_total", "counter", "Access tokens that were looked at, by whether the cache had them.")
	t.sample(verified.CacheHits, "cache", "hit")
	t.sample(verified.CacheMisses, "cache", "miss")
	t.family("oauthsv_token_refusals_total", "counter", "Access tokens that were not genuine or had expired.")
	t.sample(verified.Refused)

	hashes := m.hasher.Counts()
	t.family("oauthsv_password_hashes_total", "counter", "Turns to hash a password that have ended.")
	t.sample(hashes.Done)
	t.family("oauthsv_password_refusals_total", "counter", "Turns to hash a password that were not given: too many were waiting, or the client went away.")
	t.sample(hashes.Refused, "reason", "overloaded")
	t.sample(hashes.GivenUp, "reason", "gone")
	t.family("oauthsv_password_wait_seconds_total", "counter", "Time spent waiting for a turn to hash.")
	t.sample(hashes.WaitTime)
	t.family("oauthsv_password_hash_seconds_total", "counter", "Time of the turns to hash, with the look-up of the stored hash.")
	t.sample(hashes.HashTime)
	t.family("oauthsv_password_waiting", "gauge", "Callers that wait for a turn to hash now.")
	t.sample(hashes.Waiting)
	t.family("oauthsv_password_running", "gauge", "Turns to hash that are being taken now.")
	t.sample(hashes.Running)

	calls := m.backend.Counts()
	methods := slices.Sorted(maps.Keys(calls))
	t.family("oauthsv_store_calls_total", "counter", "Calls of the store, by method.")
	for _, method := range methods {
		t.sample(calls[method].Calls, "method", method)
	}
	t.family("oauthsv_store_errors_total", "counter", "Calls that the store could not answer.")
	for _, method := range methods {
		t.sample(calls[method].Errors, "method", method)
	}
	t.family("oauthsv_store_call_seconds_total", "counter", "Time of the calls of the store.")
	for _, method := range methods {
		t.sample(calls[method].Time, "method", method)
	}

	if m.mails != nil {
		mails := m.mails.Counts()
		t.family("oauthsv_mails_total", "counter", "Mails that were sent, given up, or dropped because the queue was full.")
		t.sample(mails.Sent, "result", "sent")
		t.sample(mails.Failed, "result", "failed")
		t.sample(mails.Dropped, "result", "dropped")
		t.family("oauthsv_mail_retries_total", "counter", "Tries to send a mail that failed and are followed by another one.")
		t.sample(mails.Retried)
		t.family("oauthsv_mails_waiting", "gauge", "Mails in the queue now.")
		t.sample(int64(mails.Waiting))
	}
	return t.Bytes()
}

// metricsText is a text in the format 0.0.4:
// https://prometheus.io/docs/instrumenting/exposition_formats/
type metricsText struct {
	bytes.Buffer
	name string // of the family that samples are written for
}

var (
	escapeHelp  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (t *metricsText) family(name, kind, help string) {
	t.name = name
	fmt.Fprintf(t, "# HELP %s %s\n# TYPE %s %s\n", name, escapeHelp.Replace(help), name, kind)
}

// sample writes a value: an int64, or a time.Duration, which becomes seconds. It may have one
// label.
func (t *metricsText) sample(value any, label ...string) {
	t.WriteString(t.name)
	if len(label) == 2 {
		fmt.Fprintf(t, `{%s="%s"}`, label[0], escapeLabel.Replace(strings.ToValidUTF8(label[1], "\uFFFD")))
	}
	if took, isTime := value.(time.Duration); isTime {
		value = strconv.FormatFloat(took.Seconds(), 'g', -1, 64)
	}
	fmt.Fprintf(t, " %v\n", value)
}

func (m *metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(m.text())
}

// listenForMetrics returns nil if there is no -metrics-addr.
func listenForMetrics(ctx context.Context, s *settings) (net.Listener, error) {
	if s.metricsAddr == "" {
		return nil, nil
	}
	return listen(ctx, "metrics-addr", s.metricsAddr)
}

// serveMetrics serves GET /metrics, and nothing else, until stop is called.
func serveMetrics(listener net.Listener, m *metrics, logger *slog.Logger) (stop func()) {
	if listener == nil {
		return func() {}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m)
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	logger.Info("metrics are served", "url", fmt.Sprintf("http://%s/metrics", listener.Addr()))
	if !isLoopback(listener.Addr().String()) {
		logger.Warn("the metrics are public: whoever reaches -metrics-addr can read them; listen on loopback, or close the port to strangers", "addr", listener.Addr().String())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); err != http.ErrServerClosed {
			logger.Error("the metrics are no longer served", "error", err)
		}
	}()
	return func() {
		timeout, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if server.Shutdown(timeout) != nil {
			_ = server.Close() // a client that does not read its answer
		}
		<-ended
	}
}
