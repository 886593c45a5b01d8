package mail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/oauthsv/oauthsv/store"
)

// Config configures a [Queue].
type Config struct {
	// Sender delivers the mails. Required.
	Sender Sender
	// Service is what mails call the service, such as "Example". The default is "this
	// service".
	Service string
	// Templates replaces texts of mails. It holds a file for each kind of mail that you
	// want to replace, such as password_reset.txt: see [store.MailKinds]. The default
	// texts fill the gaps. A file is a text/template over [TemplateData]. Its first line
	// is "Subject: " and the subject, then come a blank line and the text. The file
	// origin.txt is the part that tells when and from where, for {{template "origin.txt" .}}.
	Templates fs.FS

	// Size bounds memory, and how long mails wait behind others. It is how many mails
	// the queue holds. As many again can wait to be tried again, so that a server that
	// takes no mails for one domain does not keep back those for others. The default is
	// 1,000.
	Size int
	// Workers is how many mails are sent at once. The default is 2.
	Workers int
	// Timeout ends a try that takes too long. The default is 1 minute.
	Timeout time.Duration

	// FirstWait is the time between a first try that failed and the second. Each wait
	// is twice as long as the one before it, up to MaxWait. The defaults are 5 seconds
	// and 5 minutes.
	FirstWait, MaxWait time.Duration
	// GiveUp is how long the queue tries to send a mail. It gives up earlier when the
	// code of the mail ends. The default is 30 minutes.
	GiveUp time.Duration

	// Logger logs what happens to mails: mail_sent as information,
	// mail_retried, mail_failed, mail_dropped and mails_lost as warnings. The default is
	// slog.Default().
	Logger *slog.Logger
	// Now returns the current time. The default is time.Now.
	Now func() time.Time
}

var (
	// ErrFull means that the queue holds as many mails as it may.
	ErrFull = errors.New("mail: the queue is full")
	// ErrClosed means that the queue was closed.
	ErrClosed = errors.New("mail: the queue is closed")
)

// Counts are what a queue has done since it was made.
type Counts struct {
	// Sent mails were taken by the Sender.
	Sent int64
	// Failed mails were rejected or given up, or lost by an early end of Close.
	Failed int64
	// Retried counts tries that failed and were followed by another one, or will be.
	Retried int64
	// Dropped mails were refused by Enqueue.
	Dropped int64
	// Waiting is how many mails are in the queue now.
	Waiting int
}

// Queue sends mails in the background. It implements [store.Mailer].
type Queue struct {
	config    Config
	templates *templates
	// ctx is that of all tries. It ends if Close may not wait for them any longer.
	ctx  context.Context
	stop context.CancelFunc
	// done is closed when the last worker has ended.
	done chan struct{}

	mu     sync.Mutex
	change *sync.Cond // there is a mail in ready, or the workers may end
	closed bool
	ready  []*job
	// delayed are the mails that wait to be tried again. They block no worker.
	delayed map[*job]*time.Timer
	running int
	counts  Counts
	lost    int
}

var _ store.Mailer = (*Queue)(nil)

// NewQueue makes a queue and starts its workers. It checks the whole configuration and
// all templates, and returns one error that names each wrong field and file.
func NewQueue(config Config) (*Queue, error) {
	var problems []string
	if config.Sender == nil {
		problems = append(problems, "Sender is required: make one with mail.NewSMTP, or take mail.LogSender for development")
	}
	if config.Size < 0 || config.Workers < 0 {
		problems = append(problems, fmt.Sprintf("Size (%d) and Workers (%d) must not be negative", config.Size, config.Workers))
	}
	if config.Timeout < 0 || config.FirstWait < 0 || config.MaxWait < 0 || config.GiveUp < 0 {
		problems = append(problems, fmt.Sprintf("Timeout (%v), FirstWait (%v), MaxWait (%v) and GiveUp (%v) must not be negative", config.Timeout, config.FirstWait, config.MaxWait, config.GiveUp))
	}
	config.Service = cmp.Or(config.Service, "this service")
	if oneLine(config.Service, maxValue) != config.Service {
		problems = append(problems, fmt.Sprintf("Service is %q: it must be one line of at most %d characters, such as Example", config.Service, maxValue))
	}
	config.Size = cmp.Or(config.Size, 1000)
	config.Workers = cmp.Or(config.Workers, 2)
	config.Timeout = cmp.Or(config.Timeout, time.Minute)
	config.FirstWait = cmp.Or(config.FirstWait, 5*time.Second)
	config.MaxWait = max(cmp.Or(config.MaxWait, 5*time.Minute), config.FirstWait)
	config.GiveUp = cmp.Or(config.GiveUp, 30*time.Minute)
	templates, err := newTemplates(config.Service, config.Templates)
	if err != nil {
		problems = append(problems, "Templates: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("mail: configuration: %s", strings.Join(problems, "; "))
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	q := &Queue{
		config: config, templates: templates,
		done: make(chan struct{}), delayed: make(map[*job]*time.Timer),
	}
	q.change = sync.NewCond(&q.mu)
	q.ctx, q.stop = context.WithCancel(context.Background())
	var workers sync.WaitGroup
	for range config.Workers {
		workers.Go(q.work)
	}
	go func() {
		workers.Wait()
		q.stop()
		close(q.done)
	}()
	return q, nil
}

// Enqueue takes a mail, as [store.Mailer] says. It returns [ErrFull] or [ErrClosed] if it
// does not.
//
// If the message cannot be sent, the Queue tries again with the same message: prepare is
// not called again after it has returned a mail.
func (q *Queue) Enqueue(prepare func(ctx context.Context) (*store.Mail, error)) error {
	err := q.enqueue(&job{prepare: prepare, giveUp: q.config.Now().Add(q.config.GiveUp), wait: q.config.FirstWait})
	if err != nil {
		q.config.Logger.Warn("mail_dropped", "reason", err.Error(), "size", q.config.Size)
	}
	return err
}

func (q *Queue) enqueue(job *job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		q.counts.Dropped++
		return ErrClosed
	case len(q.ready)+q.running >= q.config.Size:
		q.counts.Dropped++
		return ErrFull
	}
	q.ready = append(q.ready, job)
	q.change.Signal()
	return nil
}

// waiting needs the lock.
func (q *Queue) waiting() int { return len(q.ready) + len(q.delayed) + q.running }

// Counts returns what the queue has done until now.
func (q *Queue) Counts() Counts {
	q.mu.Lock()
	defer q.mu.Unlock()
	counts := q.counts
	counts.Waiting = q.waiting()
	return counts
}

// closeGrace is how long Close waits for a Sender that ignores the end of its context.
const closeGrace = time.Second

// Close takes no more mails, and returns when all are sent or given up. Mails that wait to
// be tried again are tried at once, and then as before.
//
// If ctx ends first, Close drops what is left and returns an error that says how many
// mails were lost. Calls after the first wait in the same way, and return the same.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		for job, timer := range q.delayed {
			timer.Stop()
			q.ready = append(q.ready, job)
		}
		clear(q.delayed)
	}
	q.change.Broadcast()
	q.mu.Unlock()

	select {
	case <-q.done:
	case <-ctx.Done():
		q.abandon()
		grace := time.NewTimer(closeGrace)
		defer grace.Stop()
		select {
		case <-q.done:
		case <-grace.C:
		}
	}
	q.mu.Lock()
	lost := q.lost + q.running
	q.mu.Unlock()
	if lost > 0 {
		return fmt.Errorf("mail: the queue was closed before all mails were sent: %d lost", lost)
	}
	return nil
}

// abandon drops all mails, and interrupts those that are being sent.
func (q *Queue) abandon() {
	q.mu.Lock()
	for _, timer := range q.delayed {
		timer.Stop()
	}
	dropped := len(q.ready) + len(q.delayed)
	q.ready = nil
	clear(q.delayed)
	q.lost += dropped
	q.counts.Failed += int64(dropped)
	q.stop()
	q.change.Broadcast()
	q.mu.Unlock()
	if dropped > 0 {
		q.config.Logger.Warn("mails_lost", "count", dropped)
	}
}
