// Package oauthsvotel gives the counts of oauthsv to OpenTelemetry. It is a module of its own,
// so that OpenTelemetry stands in nobody's go.mod who does not use it.
//
// The instruments, with their attributes:
//
//	oauthsv.events               counter  type: as in grant.EventType
//	oauthsv.token.verifications  counter  cache: hit, miss
//	oauthsv.token.refusals       counter
//	oauthsv.key.fetches          counter  result: succeeded, failed
//	oauthsv.password.hashes      counter
//	oauthsv.password.refusals    counter  reason: overloaded, gone
//	oauthsv.password.wait        counter  in seconds
//	oauthsv.password.hash        counter  in seconds
//	oauthsv.password.waiting     gauge
//	oauthsv.password.running     gauge
//	oauthsv.store.calls          counter  method: as in store.Backend
//	oauthsv.store.errors         counter  method
//	oauthsv.store.call           counter  method; in seconds
//	oauthsv.mails                counter  result: sent, failed, dropped
//	oauthsv.mail.retries         counter
//	oauthsv.mails.waiting        gauge
//
// An exporter for Prometheus gives them the names that /metrics of example_server has.
package oauthsvotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
	"github.com/oauthsv/oauthsv/store/password"
	"github.com/oauthsv/oauthsv/tokens"
)

// Config names the parts that are observed. Each field is optional, and a part that is missing
// has no instruments.
type Config struct {
	// MeterProvider makes the instruments. The default is otel.GetMeterProvider().
	MeterProvider metric.MeterProvider

	// Server counts events. Set middleware.Config.TokenReused to its method TokenReused, so
	// that what the middleware sees is among them.
	Server *grant.Server
	// Verifier counts access tokens. In the process that issues them it is what the method
	// Verifier of tokens.Issuer returns. Set it, or Remote.
	Verifier *tokens.Verifier
	// Remote counts access tokens, and fetches of keys.
	Remote *tokens.RemoteVerifier
	// Hasher is the one in store.Config.Passwords.
	Hasher *password.Hasher
	// Backend is the one in store.Config.Backend.
	Backend *store.MeteredBackend
	// Mails is the one in store.Config.Mailer.
	Mails *mail.Queue
}

const scope = "github.com/oauthsv/oauthsv/grant/otel"

// Register makes the instruments of the parts that Config names. The counts are read when
// metrics are collected, so nothing is slower in between. Unregister ends that.
//
// Register two servers of one process with two providers: their counts would be mixed up.
func Register(config Config) (metric.Registration, error) {
	if config.Verifier != nil && config.Remote != nil {
		return nil, errors.New("oauthsvotel: Verifier and Remote cannot both be set: register one of them with a provider of its own")
	}
	if config.MeterProvider == nil {
		config.MeterProvider = otel.GetMeterProvider()
	}
	m := &instruments{meter: config.MeterProvider.Meter(scope)}
	if config.Server != nil {
		m.events(config.Server)
	}
	switch {
	case config.Verifier != nil:
		m.tokens(config.Verifier.Counts)
	case config.Remote != nil:
		m.tokens(func() tokens.VerifierCounts { return config.Remote.Counts().VerifierCounts })
		m.fetches(config.Remote)
	}
	if config.Hasher != nil {
		m.hashes(config.Hasher)
	}
	if config.Backend != nil {
		m.calls(config.Backend)
	}
	if config.Mails != nil {
		m.mails(config.Mails)
	}
	if m.failed != nil {
		return nil, m.failed
	}
	return m.meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for _, observe := range m.observe {
			observe(to)
		}
		return nil
	}, m.all...)
}

// instruments collects the instruments, and the functions that observe them.
type instruments struct {
	meter   metric.Meter
	all     []metric.Observable
	observe []func(metric.Observer)
	failed  error
}

func (m *instruments) counter(name, unit, description string) metric.Int64Observable {
	counter, err := m.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	m.failed = errors.Join(m.failed, err)
	m.all = append(m.all, counter)
	return counter
}

func (m *instruments) seconds(name, description string) metric.Float64Observable {
	counter, err := m.meter.Float64ObservableCounter(name, metric.WithUnit("s"), metric.WithDescription(description))
	m.failed = errors.Join(m.failed, err)
	m.all = append(m.all, counter)
	return counter
}

func (m *instruments) gauge(name, unit, description string) metric.Int64Observable {
	gauge, err := m.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	m.failed = errors.Join(m.failed, err)
	m.all = append(m.all, gauge)
	return gauge
}

func (m *instruments) add(observe func(metric.Observer)) { m.observe = append(m.observe, observe) }

// with returns the option for one attribute.
func with(key, value string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String(key, value)))
}

func (m *instruments) events(server *grant.Server) {
	events := m.counter("oauthsv.events", "{event}", "What happened, by type.")
	m.add(func(to metric.Observer) {
		for eventType, count := range server.Counts() {
			to.ObserveInt64(events, count, with("type", string(eventType)))
		}
	})
}

func (m *instruments) tokens(counts func() tokens.VerifierCounts) {
	verifications := m.counter("oauthsv.token.verifications", "{token}", "Access tokens that were looked at, by whether the cache had them.")
	refusals := m.counter("oauthsv.token.refusals", "{token}", "Access tokens that were not genuine or had expired.")
	m.add(func(to metric.Observer) {
		counts := counts()
		to.ObserveInt64(verifications, counts.CacheHits, with("cache", "hit"))
		to.ObserveInt64(verifications, counts.CacheMisses, with("cache", "miss"))
		to.ObserveInt64(refusals, counts.Refused)
	})
}

func (m *instruments) fetches(verifier *tokens.RemoteVerifier) {
	fetches := m.counter("oauthsv.key.fetches", "{fetch}", "Fetches of the issuer's keys.")
	m.add(func(to metric.Observer) {
		counts := verifier.Counts()
		to.ObserveInt64(fetches, counts.Fetches-counts.FetchFailures, with("result", "succeeded"))
		to.ObserveInt64(fetches, counts.FetchFailures, with("result", "failed"))
	})
}

func (m *instruments) hashes(hasher *password.Hasher) {
	hashes := m.counter("oauthsv.password.hashes", "{hash}", "Turns to hash a password that have ended.")
	refusals := m.counter("oauthsv.password.refusals", "{hash}", "Turns to hash a password that were not given: too many were waiting, or the client went away.")
	wait := m.seconds("oauthsv.password.wait", "Time spent waiting for a turn to hash.")
	hash := m.seconds("oauthsv.password.hash", "Time of the turns to hash, with the look-up of the stored hash.")
	waiting := m.gauge("oauthsv.password.waiting", "{caller}", "Callers that wait for a turn to hash now.")
	running := m.gauge("oauthsv.password.running", "{hash}", "Turns to hash that are being taken now.")
	m.add(func(to metric.Observer) {
		counts := hasher.Counts()
		to.ObserveInt64(hashes, counts.Done)
		to.ObserveInt64(refusals, counts.Refused, with("reason", "overloaded"))
		to.ObserveInt64(refusals, counts.GivenUp, with("reason", "gone"))
		to.ObserveFloat64(wait, counts.WaitTime.Seconds())
		to.ObserveFloat64(hash, counts.HashTime.Seconds())
		to.ObserveInt64(waiting, counts.Waiting)
		to.ObserveInt64(running, counts.Running)
	})
}

func (m *instruments) calls(backend *store.MeteredBackend) {
	calls := m.counter("oauthsv.store.calls", "{call}", "Calls of the store, by method.")
	failures := m.counter("oauthsv.store.errors", "{call}", "Calls that the store could not answer.")
	took := m.seconds("oauthsv.store.call", "Time of the calls of the store.")
	m.add(func(to metric.Observer) {
		for name, counts := range backend.Counts() {
			method := with("method", name)
			to.ObserveInt64(calls, counts.Calls, method)
			to.ObserveInt64(failures, counts.Errors, method)
			to.ObserveFloat64(took, counts.Time.Seconds(), method)
		}
	})
}

func (m *instruments) mails(queue *mail.Queue) {
	mails := m.counter("oauthsv.mails", "{mail}", "Mails that were sent, given up, or dropped because the queue was full.")
	retries := m.counter("oauthsv.mail.retries", "{try}", "Tries to send a mail that failed and are followed by another one.")
	waiting := m.gauge("oauthsv.mails.waiting", "{mail}", "Mails in the queue now.")
	m.add(func(to metric.Observer) {
		counts := queue.Counts()
		to.ObserveInt64(mails, counts.Sent, with("result", "sent"))
		to.ObserveInt64(mails, counts.Failed, with("result", "failed"))
		to.ObserveInt64(mails, counts.Dropped, with("result", "dropped"))
		to.ObserveInt64(retries, counts.Retried)
		to.ObserveInt64(waiting, int64(counts.Waiting))
	})
}
