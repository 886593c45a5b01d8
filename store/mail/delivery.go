package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// job is one mail on its way.
type job struct {
	prepare func(ctx context.Context) (*store.Mail, error)
	// message is set once prepare has returned a mail. So are kind, and hide: what must
	// not show in logs.
	message *Message
	kind    store.MailKind
	hide    []string

	tries  int
	wait   time.Duration
	giveUp time.Time
}

// errNothing means that prepare has returned no mail.
var errNothing = errors.New("nothing to send")

// finalError means that it cannot help to try again.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// work sends mails until the queue is closed and empty.
func (q *Queue) work() {
	for {
		job := q.next()
		if job == nil {
			return
		}
		job.tries++
		q.settle(job, q.try(job))
	}
}

func (q *Queue) next() *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) == 0 {
		if q.closed && q.waiting() == 0 {
			return nil
		}
		q.change.Wait()
	}
	job := q.ready[0]
	q.ready[0] = nil
	q.ready = q.ready[1:]
	q.running++
	return job
}

// try makes the message, unless an earlier try did, and sends it.
func (q *Queue) try(job *job) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = finalError{panicked(value)}
		}
	}()
	ctx, cancel := context.WithTimeout(q.ctx, q.config.Timeout)
	defer cancel()
	if job.message == nil {
		mail, err := job.prepare(ctx)
		switch {
		case errors.Is(err, store.ErrUnavailable):
			return err
		case err != nil:
			return finalError{err}
		case mail == nil:
			return errNothing
		}
		job.kind = mail.Kind
		job.hide = []string{mail.Code, mail.To, mail.NewEmail}
		if !mail.Expires.IsZero() && mail.Expires.Before(job.giveUp) {
			job.giveUp = mail.Expires
		}
		message, err := q.templates.message(mail)
		if err != nil {
			return finalError{err}
		}
		job.message = &message
	}
	err = q.config.Sender.Send(ctx, *job.message)
	if errors.Is(err, ErrRejected) {
		return finalError{err}
	}
	return err
}

// panicked describes a panic. Only the runtime's own panics are quoted: the value of any
// other may hold anything.
func panicked(value any) error {
	text := fmt.Sprintf("a value of type %T", value)
	if err, isRuntime := value.(runtime.Error); isRuntime {
		text = err.Error()
	}
	return fmt.Errorf("panic: %s at %s", text, panicPlace())
}

// panicPlace returns the line that panicked. The stack at this moment is that of the
// deferred call, above the functions of the runtime that handle the panic.
func panicPlace() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	panicking := false
	for {
		frame, more := frames.Next()
		inRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if panicking && !inRuntime {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
		panicking = panicking || inRuntime
		if !more {
			return "an unknown place"
		}
	}
}

// settle does what follows from a try.
func (q *Queue) settle(job *job, err error) {
	var final finalError
	now := q.config.Now()
	logged := slog.LevelInfo
	event := ""
	attributes := []slog.Attr{slog.Int("tries", job.tries)}
	if job.kind != "" {
		attributes = append(attributes, slog.String("kind", clean(string(job.kind))))
	}

	q.mu.Lock()
	q.running--
	switch {
	case errors.Is(err, errNothing):
	case err == nil:
		q.counts.Sent++
		event = "mail_sent"
	case !errors.As(err, &final) && q.ctx.Err() != nil:
		q.counts.Failed++
		q.lost++
		event, logged = "mail_failed", slog.LevelWarn
		err = fmt.Errorf("interrupted by the end of the queue: %w", err)
	case errors.As(err, &final), now.Add(job.wait).After(job.giveUp), len(q.delayed) >= q.config.Size:
		q.counts.Failed++
		event, logged = "mail_failed", slog.LevelWarn
	default:
		q.counts.Retried++
		q.delay(job)
		event, logged = "mail_retried", slog.LevelWarn
	}
	if q.closed && q.waiting() == 0 {
		q.change.Broadcast()
	}
	q.mu.Unlock()

	if event == "" {
		return
	}
	if err != nil {
		attributes = append(attributes, slog.String("error", cleanError(err.Error(), job.hide...)))
	}
	q.config.Logger.LogAttrs(context.Background(), logged, event, attributes...)
}

// delay puts the job back when it has waited. It needs the lock.
func (q *Queue) delay(job *job) {
	q.delayed[job] = time.AfterFunc(job.wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if _, waits := q.delayed[job]; waits {
			delete(q.delayed, job)
			q.ready = append(q.ready, job)
			q.change.Signal()
		}
	})
	job.wait = min(2*job.wait, q.config.MaxWait)
}
