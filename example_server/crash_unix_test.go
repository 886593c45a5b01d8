//go:build unix

package main

import (
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

const (
	crashClients = 12
	crashUsers   = 4 // of each client
)

// crash is what the clients of one TestCrashKeepsWhatWasAnswered share.
type crash struct {
	t            *testing.T
	answered     tally
	done, undone atomic.Int64 // of what was under way at a kill
	checks, lost atomic.Int64
}

// check counts a check, and a loss where it fails. A loss is an answer that no longer
// holds.
func (c *crash) check(holds bool, what string, got any) bool {
	c.t.Helper()
	c.checks.Add(1)
	if !holds {
		c.lost.Add(1)
		c.t.Errorf("%s: %v", what, got)
	}
	return holds
}

// TestCrashKeepsWhatWasAnswered kills a server at random moments, while clients log in,
// refresh, revoke, change passwords and send protected requests. After each restart it
// checks all that was answered, and that what was under way works when it is tried again.
// All kills are over one file.
//
// OAUTHSV_TEST_KILLS is how many kills there are, 5 by default.
func TestCrashKeepsWhatWasAnswered(t *testing.T) {
	kills := number(t, "OAUTHSV_TEST_KILLS", 5)
	directory := t.TempDir()
	makeAccounts(t, filepath.Join(directory, "oauthsv.db"), middlewaretest.Hasher(), crashClients*crashUsers)
	c := &crash{t: t}
	clients := make([]*crashClient, crashClients)
	for i := range clients {
		clients[i] = &crashClient{crash: c, random: rand.New(rand.NewPCG(3, uint64(i)))}
		for j := range crashUsers {
			name := accountName(i*crashUsers + j)
			clients[i].users = append(clients[i].users, &crashUser{crashClient: clients[i], name: name, password: middlewaretest.Password})
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	var p *process
	restart := func() {
		// Without a reuse interval no answer depends on the time.
		p = startChild(t, directory, "-access-ttl", "12h", "-reuse-interval", "0")
		for _, client := range clients {
			client.driver = newDriver(p.url)
		}
	}
	restart()
	for range kills {
		loadUntilKilled(t, p, clients, c.answered.all()+1+random.Int64N(600), time.Duration(random.Int64N(int64(3*time.Millisecond))))
		require.NotContains(t, p.stderr.String(), "DATA RACE")
		restart()
		each(clients, (*crashClient).verify)
		if t.Failed() {
			break
		}
	}
	t.Logf("%d kills; answered: %v; under way at a kill: %d were done, %d were not; %d checks, %d lost",
		kills, &c.answered, c.done.Load(), c.undone.Load(), c.checks.Load(), c.lost.Load())
	assert.Equal(t, 0, p.stop(syscall.SIGTERM))
}

// loadUntilKilled returns when no client is answered any more. The kill comes a moment
// after so many answers, counted from the start of the test.
func loadUntilKilled(t *testing.T, p *process, clients []*crashClient, answers int64, delay time.Duration) {
	t.Helper()
	reached, ended := make(chan struct{}), make(chan struct{})
	var once sync.Once
	go func() {
		defer close(ended)
		each(clients, func(client *crashClient) {
			for client.step() {
				if client.answered.all() >= answers {
					once.Do(func() { close(reached) })
				}
			}
		})
	}()
	select {
	case <-reached:
	case <-ended:
		t.Fatalf("the server ended by itself: %s", p.stderr)
	}
	time.Sleep(delay) // so that the kill does not always follow an answer
	p.kill()
	<-ended
	for _, client := range clients {
		client.driver.close()
	}
}

// each runs a function for all clients at once.
func each(clients []*crashClient, do func(*crashClient)) {
	var all sync.WaitGroup
	for _, client := range clients {
		all.Go(func() { do(client) })
	}
	all.Wait()
}

// crashClient acts for some users, one operation after another.
type crashClient struct {
	*crash
	driver *driver
	random *rand.Rand
	users  []*crashUser
}

// step does something for one of the users. It returns false if no answer came.
func (c *crashClient) step() (answered bool) {
	u := c.users[c.random.IntN(len(c.users))]
	dice := c.random.IntN(100)
	if len(u.sessions) == 0 || dice < 15 && len(u.sessions) < 5 {
		return u.login()
	}
	s := u.sessions[c.random.IntN(len(u.sessions))]
	switch {
	case dice < 55:
		return u.refresh(s)
	case dice < 85:
		return u.request(s)
	case dice < 94:
		return u.revoke(s)
	}
	return u.changePassword(s)
}

// verify checks all that the users were told, and does again what was under way.
func (c *crashClient) verify() {
	for _, u := range c.users {
		if u.again != nil {
			u.again()
			u.again = nil
		}
		u.verify()
	}
}
