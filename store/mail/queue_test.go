package mail_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/store"
	"github.com/oauthsv/oauthsv/store/mail"
)

var errDown = errors.New("connection refused")

func newQueue(t testing.TB, config mail.Config) (*mail.Queue, *logged) {
	t.Helper()
	log := new(logged)
	config.Logger = log.logger()
	queue, err := mail.NewQueue(config)
	require.NoError(t, err)
	return queue, log
}

func closeQueue(t testing.TB, queue *mail.Queue) {
	t.Helper()
	require.NoError(t, queue.Close(context.Background()))
}

// TestFailedMailsAreTriedAgainWithDoublingWaits, and the first try made the message: its
// code must not be made again.
func TestFailedMailsAreTriedAgainWithDoublingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var tries []time.Duration
		sender := &memory{answer: func(context.Context, mail.Message) error {
			tries = append(tries, time.Since(start))
			if len(tries) < 6 {
				return errDown
			}
			return nil
		}}
		queue, log := newQueue(t, mail.Config{Sender: sender, FirstWait: time.Second, MaxWait: 5 * time.Second})
		prepared := 0
		require.NoError(t, queue.Enqueue(func(context.Context) (*store.Mail, error) {
			prepared++
			return sample(store.MailPasswordReset), nil
		}))
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, mail.Counts{Retried: 2, Waiting: 1}, queue.Counts())
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 12 * time.Second, 17 * time.Second}, tries)
		assert.Equal(t, 1, prepared)
		assert.Equal(t, mail.Counts{Sent: 1, Retried: 5}, queue.Counts())
		assert.Equal(t, record{Level: "INFO", Msg: "mail_sent", Kind: "password_reset", Tries: 6}, log.records()[5])
		closeQueue(t, queue)
	})
}

func TestQueueGivesUpAtTheEndOfItsTimeOrOfTheCode(t *testing.T) {
	for name, test := range map[string]struct {
		kind    store.MailKind
		expires time.Duration
		last    time.Duration // when the last try is made
	}{
		"time of the queue": {store.MailNewLogin, 0, 31 * time.Second},
		"code lives longer": {store.MailPasswordReset, time.Hour, 31 * time.Second},
		"code ends":         {store.MailPasswordReset, 10 * time.Second, 7 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var last time.Duration
				sender := &memory{answer: func(context.Context, mail.Message) error { last = time.Since(start); return errDown }}
				queue, log := newQueue(t, mail.Config{Sender: sender, FirstWait: time.Second, GiveUp: 45 * time.Second})
				m := sample(test.kind)
				if test.expires > 0 {
					m.Expires = start.Add(test.expires)
				}
				require.NoError(t, queue.Enqueue(ready(m)))
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				assert.Equal(t, test.last, last)
				counts := queue.Counts()
				assert.Equal(t, int64(1), counts.Failed)
				assert.Zero(t, counts.Waiting)
				records := log.records()
				final := records[len(records)-1]
				assert.Equal(t, record{Level: "WARN", Msg: "mail_failed", Kind: string(test.kind), Error: errDown.Error(), Tries: final.Tries}, final)
				closeQueue(t, queue)
			})
		})
	}
}

func TestWaitingRetryBlocksNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := &memory{answer: func(_ context.Context, message mail.Message) error {
			if strings.HasPrefix(message.To, "down") {
				return errDown
			}
			return nil
		}}
		queue, _ := newQueue(t, mail.Config{Sender: sender, Workers: 1, FirstWait: time.Hour, GiveUp: 24 * time.Hour})
		for i := range 20 {
			m := sample(store.MailNewLogin)
			m.To = fmt.Sprintf("%s%d@example.com", []string{"up", "down"}[i%2], i)
			require.NoError(t, queue.Enqueue(ready(m)))
		}
		synctest.Wait()
		assert.Equal(t, mail.Counts{Sent: 10, Retried: 10, Waiting: 10}, queue.Counts())
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, queue.Close(ended))
	})
}

// TestOutageWhilePreparingIsTriedAgain, any other error is final.
func TestOutageWhilePreparingIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := new(memory)
		queue, log := newQueue(t, mail.Config{Sender: sender})
		calls := 0
		require.NoError(t, queue.Enqueue(func(context.Context) (*store.Mail, error) {
			if calls++; calls < 3 {
				return nil, fmt.Errorf("reading ann@example.com: %w", store.ErrUnavailable)
			}
			return sample(store.MailNewLogin), nil
		}))
		final := 0
		require.NoError(t, queue.Enqueue(func(context.Context) (*store.Mail, error) {
			final++
			return nil, errors.New("no account of ann@example.com")
		}))
		require.NoError(t, queue.Enqueue(ready(nil))) // nothing to send
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, 3, calls)
		assert.Equal(t, 1, final)
		assert.Len(t, sender.all(), 1)
		assert.Equal(t, mail.Counts{Sent: 1, Failed: 1, Retried: 2}, queue.Counts())
		assert.EqualError(t, log.find("mail_failed"), "no account of [hidden]")
		assert.NotContains(t, log.String(), "ann@example.com")
		closeQueue(t, queue)
	})
}

func TestRejectedMailIsNotTriedAgain(t *testing.T) {
	tries := 0
	sender := &memory{answer: func(context.Context, mail.Message) error {
		tries++
		return fmt.Errorf("%w: no such mailbox", mail.ErrRejected)
	}}
	queue, log := newQueue(t, mail.Config{Sender: sender})
	require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
	closeQueue(t, queue)
	assert.Equal(t, 1, tries)
	assert.Equal(t, mail.Counts{Failed: 1}, queue.Counts())
	assert.EqualError(t, log.find("mail_failed"), "mail: rejected: no such mailbox")
}

// TestFullQueueDropsAtOnce: mails that are being sent count. Those that wait to be tried again
// have a room of their own, so that one domain that is down does not keep back the others.
func TestFullQueueDropsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		sender := &memory{answer: func(_ context.Context, message mail.Message) error {
			if message.To == "down@example.com" {
				return errDown
			}
			<-release
			return nil
		}}
		queue, log := newQueue(t, mail.Config{Sender: sender, Size: 2, Workers: 1, FirstWait: 10 * time.Minute})
		down := sample(store.MailNewLogin)
		down.To = "down@example.com"
		require.NoError(t, queue.Enqueue(ready(down)))
		synctest.Wait()
		require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		synctest.Wait()
		require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		called := false
		err := queue.Enqueue(func(context.Context) (*store.Mail, error) { called = true; return nil, nil })
		assert.ErrorIs(t, err, mail.ErrFull)
		assert.Equal(t, mail.Counts{Retried: 1, Dropped: 1, Waiting: 3}, queue.Counts())
		assert.Contains(t, log.String(), `"mail_dropped"`)
		close(release)
		synctest.Wait()
		require.NoError(t, queue.Enqueue(ready(nil)), "there is room again")
		synctest.Wait()
		assert.False(t, called)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, queue.Close(ended))
	})
}

func TestPanicsCountAsFailedAndTellNoSecret(t *testing.T) {
	var nothing *store.Mail
	for name, test := range map[string]struct {
		prepare func(context.Context) (*store.Mail, error)
		send    func(context.Context, mail.Message) error
		says    string
	}{
		"prepare": {prepare: func(context.Context) (*store.Mail, error) { panic("hunter2") }, says: "panic: a value of type string at "},
		"sender": {
			prepare: ready(sample(store.MailPasswordReset)),
			send:    func(_ context.Context, m mail.Message) error { panic(errors.New(m.Text)) },
			says:    "panic: a value of type *errors.errorString at ",
		},
		"runtime": {
			prepare: func(context.Context) (*store.Mail, error) { return nil, errors.New(nothing.To) },
			says:    "panic: runtime error: invalid memory address or nil pointer dereference at ",
		},
		"no prepare": {says: "panic: runtime error: invalid memory address"},
	} {
		t.Run(name, func(t *testing.T) {
			queue, log := newQueue(t, mail.Config{Sender: &memory{answer: test.send}, Workers: 1})
			require.NoError(t, queue.Enqueue(test.prepare))
			require.NoError(t, queue.Enqueue(ready(nil)), "the worker lives on")
			closeQueue(t, queue)
			assert.Equal(t, mail.Counts{Failed: 1}, queue.Counts())
			failure := log.find("mail_failed")
			require.Error(t, failure)
			assert.Contains(t, failure.Error(), test.says)
			if name != "no prepare" {
				assert.Contains(t, failure.Error(), "TestPanicsCountAsFailedAndTellNoSecret", "the place")
			}
			assert.NotContains(t, log.String(), "hunter2")
			assert.NotContains(t, log.String(), code)
		})
	}
}

// TestLogsNameNobody: a Sender may repeat all it was given.
func TestLogsNameNobody(t *testing.T) {
	m := sample(store.MailPasswordReset)
	m.To, m.NewEmail = "Ann.Lee@example.com", "Zoe.Lee@example.com"
	for name, answer := range map[string]func(context.Context, mail.Message) error{
		"sent": nil,
		"failed": func(_ context.Context, m mail.Message) error {
			return fmt.Errorf("%w:\r\n550 <%s> Ann.Lee: 'ann.lee' unknown, %s\x1b[0m %s", mail.ErrRejected, m.To, strings.ToLower(m.To), m.Text)
		},
		"retried": func(_ context.Context, m mail.Message) error {
			return errors.New("no " + m.To + ", zoe.lee and " + m.Text)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				queue, log := newQueue(t, mail.Config{Sender: &memory{answer: answer}, GiveUp: 6 * time.Second})
				require.NoError(t, queue.Enqueue(ready(m)))
				synctest.Wait()
				closeQueue(t, queue)
				require.Error(t, log.find("mail_"+name))
				for _, secret := range []string{code, "Ann", "ann", "zoe", "\\u001b", "\\r"} {
					assert.NotContains(t, log.String(), secret)
				}
				for _, r := range log.records() {
					assert.LessOrEqual(t, len([]rune(r.Error)), 200)
				}
			})
		})
	}
}

func TestCloseSendsWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := &memory{answer: func(ctx context.Context, _ mail.Message) error { time.Sleep(time.Second); return ctx.Err() }}
		queue, _ := newQueue(t, mail.Config{Sender: sender, Workers: 3})
		for range 30 {
			require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		}
		start := time.Now()
		var closers sync.WaitGroup
		for range 3 {
			closers.Go(func() { assert.NoError(t, queue.Close(t.Context())) })
		}
		closers.Wait()
		assert.Equal(t, 10*time.Second, time.Since(start))
		assert.Len(t, sender.all(), 30)
		assert.ErrorIs(t, queue.Enqueue(ready(nil)), mail.ErrClosed)
		assert.Equal(t, mail.Counts{Sent: 30, Dropped: 1}, queue.Counts())
		assert.NoError(t, queue.Close(t.Context()))
	}) // synctest finds goroutines that were left behind
}

func TestCloseTriesWaitingMailsAtOnceAndThenAsBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var tries []time.Duration
		sender := &memory{answer: func(context.Context, mail.Message) error {
			tries = append(tries, time.Since(start))
			if len(tries) < 3 {
				return errDown
			}
			return nil
		}}
		queue, _ := newQueue(t, mail.Config{Sender: sender, FirstWait: 4 * time.Minute})
		require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		time.Sleep(time.Minute)
		closeQueue(t, queue)
		assert.Equal(t, []time.Duration{0, time.Minute, 6 * time.Minute}, tries)
	})
}

// TestCloseSaysHowManyMailsWereLost when its context ends first.
func TestCloseSaysHowManyMailsWereLost(t *testing.T) {
	for name, obeys := range map[string]bool{"sender obeys": true, "sender ignores the context": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				sender := &memory{answer: func(ctx context.Context, message mail.Message) error {
					if strings.HasPrefix(message.To, "down") {
						return errDown
					}
					if obeys {
						<-ctx.Done()
						return ctx.Err()
					}
					<-release
					return nil
				}}
				queue, log := newQueue(t, mail.Config{Sender: sender, Workers: 1, FirstWait: 10 * time.Minute, Timeout: time.Hour})
				for _, name := range []string{"down", "a", "b", "c"} {
					m := sample(store.MailNewLogin)
					m.To = name + "@example.com"
					require.NoError(t, queue.Enqueue(ready(m)))
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				start := time.Now()
				err := queue.Close(ctx)
				require.Error(t, err)
				assert.Contains(t, err.Error(), "4 lost")
				assert.LessOrEqual(t, time.Since(start), 11*time.Second)
				assert.Contains(t, log.String(), `"mails_lost"`)
				close(release)
				synctest.Wait()
				counts := queue.Counts()
				assert.Zero(t, counts.Waiting)
				assert.Equal(t, int64(4), counts.Failed+counts.Sent)
			})
		})
	}
}

// TestCloseLeavesAWaitingMailInTime: its workers have nothing to do when the context ends.
func TestCloseLeavesAWaitingMailInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := &memory{answer: func(context.Context, mail.Message) error { return errDown }}
		queue, log := newQueue(t, mail.Config{Sender: sender, FirstWait: time.Minute})
		require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		assert.ErrorContains(t, queue.Close(ctx), "1 lost")
		assert.Equal(t, 10*time.Second, time.Since(start))
		for _, r := range log.records() {
			assert.Equal(t, "WARN", r.Level, r.Msg)
		}
	}) // synctest finds workers that were left behind
}

// TestQueueGivesUpByItsOwnClock: it tells the time of the first try as well.
func TestQueueGivesUpByItsOwnClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := &memory{answer: func(context.Context, mail.Message) error { return errDown }}
		now := func() time.Time { return time.Now().AddDate(10, 0, 0) }
		queue, _ := newQueue(t, mail.Config{Sender: sender, Now: now, FirstWait: 10 * time.Minute})
		m := sample(store.MailNewLogin)
		require.NoError(t, queue.Enqueue(ready(m)))
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, mail.Counts{Retried: 3, Failed: 1}, queue.Counts(), "no wait is shorter than the first")
		closeQueue(t, queue)
	})
}

func TestCloseOfAnIdleQueueNeedsNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		queue, _ := newQueue(t, mail.Config{Sender: new(memory)})
		start := time.Now()
		assert.NoError(t, queue.Close(ended))
		assert.Zero(t, time.Since(start))
	})
}

func TestTryThatTakesTooLongEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var took []time.Duration
		wait := func(ctx context.Context) error {
			start := time.Now()
			<-ctx.Done()
			took = append(took, time.Since(start))
			return ctx.Err()
		}
		sender := &memory{answer: func(ctx context.Context, _ mail.Message) error { return wait(ctx) }}
		queue, _ := newQueue(t, mail.Config{Sender: sender, Workers: 1, Timeout: 20 * time.Second, GiveUp: time.Second})
		require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		require.NoError(t, queue.Enqueue(func(ctx context.Context) (*store.Mail, error) { return nil, wait(ctx) }))
		closeQueue(t, queue)
		assert.Equal(t, []time.Duration{20 * time.Second, 20 * time.Second}, took)
		assert.Equal(t, int64(2), queue.Counts().Failed)
	})
}

// TestManyCallersLoseNothing: each mail is sent, dropped or failed, and counted once.
func TestManyCallersLoseNothing(t *testing.T) {
	var number atomic.Int64
	sender := &memory{answer: func(context.Context, mail.Message) error {
		switch n := number.Add(1); {
		case n%5 == 0:
			return mail.ErrRejected
		case n%3 == 0:
			return errDown
		}
		return nil
	}}
	queue, _ := newQueue(t, mail.Config{Sender: sender, Size: 50, Workers: 4, FirstWait: time.Nanosecond, MaxWait: time.Microsecond})
	var accepted, refused atomic.Int64
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 100 {
				if err := queue.Enqueue(ready(sample(store.MailNewLogin))); err == nil {
					accepted.Add(1)
				} else {
					assert.ErrorIs(t, err, mail.ErrFull)
					refused.Add(1)
				}
				_ = queue.Counts()
			}
		})
	}
	callers.Wait()
	closeQueue(t, queue)
	counts := queue.Counts()
	assert.Equal(t, accepted.Load(), counts.Sent+counts.Failed)
	assert.Equal(t, refused.Load(), counts.Dropped)
	assert.Len(t, sender.all(), int(counts.Sent))
	assert.Zero(t, counts.Waiting)
}

func TestConfigurationBounds(t *testing.T) {
	for _, test := range []struct {
		field         string
		taken, refuse mail.Config
	}{
		{"Size", mail.Config{Size: 1}, mail.Config{Size: -1}},
		{"Workers", mail.Config{Workers: 1}, mail.Config{Workers: -1}},
		{"Timeout", mail.Config{Timeout: 1}, mail.Config{Timeout: -1}},
		{"FirstWait", mail.Config{FirstWait: 1}, mail.Config{FirstWait: -1}},
		{"MaxWait", mail.Config{MaxWait: 1}, mail.Config{MaxWait: -1}},
		{"GiveUp", mail.Config{GiveUp: 1}, mail.Config{GiveUp: -1}},
		{"Service", mail.Config{Service: strings.Repeat("ä", 100)}, mail.Config{Service: strings.Repeat("ä", 101)}},
	} {
		t.Run(test.field, func(t *testing.T) {
			test.taken.Sender, test.refuse.Sender = new(memory), new(memory)
			queue, err := mail.NewQueue(test.taken)
			require.NoError(t, err)
			closeQueue(t, queue)
			_, err = mail.NewQueue(test.refuse)
			assert.ErrorContains(t, err, test.field)
		})
	}
}

// TestZeroMeansTheDocumentedDefault: tries for half an hour, with waits from 5 seconds to 5 minutes,
// and each try may take a minute. There are 2 workers and room for 1,000 mails.
func TestZeroMeansTheDocumentedDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var tries []time.Duration
		queue, _ := newQueue(t, mail.Config{Sender: &memory{answer: func(context.Context, mail.Message) error {
			tries = append(tries, time.Since(start)/time.Second)
			return errDown
		}}})
		require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, []time.Duration{0, 5, 15, 35, 75, 155, 315, 615, 915, 1215, 1515}, tries)
		closeQueue(t, queue)
	})
	synctest.Test(t, func(t *testing.T) {
		var begun atomic.Int64
		queue, _ := newQueue(t, mail.Config{GiveUp: time.Second, Sender: &memory{answer: func(ctx context.Context, _ mail.Message) error {
			begun.Add(1)
			<-ctx.Done()
			return ctx.Err()
		}}})
		for range 1000 {
			require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		}
		require.ErrorIs(t, queue.Enqueue(ready(sample(store.MailNewLogin))), mail.ErrFull)
		time.Sleep(time.Minute - time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, int64(2), begun.Load())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, int64(4), begun.Load())
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, queue.Close(ended))
	})
}

// TestRoomForWaitingMailsIsBounded: a mail that finds no room to wait is given up.
func TestRoomForWaitingMailsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := &memory{answer: func(context.Context, mail.Message) error { return errDown }}
		queue, _ := newQueue(t, mail.Config{Sender: sender, Size: 2, Workers: 1, FirstWait: 10 * time.Minute})
		for range 3 {
			require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
			synctest.Wait()
		}
		assert.Equal(t, mail.Counts{Retried: 2, Failed: 1, Waiting: 2}, queue.Counts())
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.EqualError(t, queue.Close(ended), "mail: the queue was closed before all mails were sent: 2 lost")
	})
}

// TestLogTellsOfNoLossWhereNothingWaited: the mail that was being sent is logged by itself.
func TestLogTellsOfNoLossWhereNothingWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sender := &memory{answer: func(ctx context.Context, _ mail.Message) error { <-ctx.Done(); return ctx.Err() }}
		queue, log := newQueue(t, mail.Config{Sender: sender})
		require.NoError(t, queue.Enqueue(ready(sample(store.MailNewLogin))))
		synctest.Wait()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		assert.ErrorContains(t, queue.Close(ended), "1 lost")
		require.Error(t, log.find("mail_failed"))
		assert.NoError(t, log.find("mails_lost"))
	})
}

func TestConfigurationNamesEachWrongField(t *testing.T) {
	_, err := mail.NewQueue(mail.Config{
		Size: -1, FirstWait: -1, Service: "a\nb",
		Templates: files(map[string]string{"new_login.txt": "x", "registration.txt": "x"}),
	})
	require.Error(t, err)
	for _, field := range []string{"Sender", "Size", "FirstWait", "Service", "Templates", "new_login.txt", "registration.txt"} {
		assert.Contains(t, err.Error(), field)
	}
	assert.NotContains(t, err.Error(), "\n")
}
