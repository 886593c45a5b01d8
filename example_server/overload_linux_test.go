package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
	"github.com/oauthsv/oauthsv/store/password"
)

const (
	crowd = 500 // logins at once, or connections

	// The default budget of the hasher, and what a server takes besides: code, 500
	// connections with their goroutines, the store file in memory, and hashes that are
	// garbage already.
	hashingBudget = 256 << 20
	memoryMargin  = 64 << 20
)

// startForCrowd runs the program itself, with the default hasher, behind a proxy that it
// trusts: each client says its address.
func startForCrowd(t *testing.T) *process {
	t.Helper()
	directory := t.TempDir()
	hasher, err := password.New(password.Config{})
	require.NoError(t, err)
	makeAccounts(t, filepath.Join(directory, "oauthsv.db"), hasher, crowd+1)
	command := command(directory, nil, "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1", "-trusted-proxies", "127.0.0.0/8")
	log, err := os.Create(filepath.Join(directory, "log")) // some hundred thousand lines
	require.NoError(t, err)
	t.Cleanup(func() { _ = log.Close() })
	command.Stderr = log
	return startCommand(t, command)
}

func clientAddress(i int) string { return fmt.Sprintf("10.1.%d.%d", i/250, 1+i%250) }

// TestCrowdOfLogins: 500 users log in at the same moment. Every one gets an answer, those
// who are turned away learn when to come again, memory stays within the budget, and the
// users who are in are served meanwhile.
func TestCrowdOfLogins(t *testing.T) {
	p := startForCrowd(t)
	inside := newDriver(p.url)
	inside.from = "10.9.9.9"
	token := inside.login(accountName(crowd), middlewaretest.Password).AccessToken
	require.NotEmpty(t, token)
	idle := timesOf(t, inside, token, func(served int) bool { return served < 300 })

	outside := newDriver(p.url)
	defer outside.close()
	answers := make([]answer, crowd)
	times := make([]time.Duration, crowd)
	gate, over := make(chan struct{}), make(chan struct{})
	var logins sync.WaitGroup
	for i := range crowd {
		logins.Go(func() {
			d := &driver{url: p.url, http: outside.http, from: clientAddress(i)}
			pass := middlewaretest.Password
			if i%5 == 0 {
				pass = "guess"
			}
			<-gate
			began := time.Now()
			answers[i] = d.login(accountName(i), pass)
			times[i] = time.Since(began)
		})
	}
	go func() {
		defer close(over)
		close(gate)
		logins.Wait()
	}()
	meanwhile := timesOf(t, inside, token, func(int) bool {
		select {
		case <-over:
			return false
		default:
			return true
		}
	})

	counts := map[int]int{}
	for i, a := range answers {
		counts[a.status]++
		switch a.status {
		case 200:
			assert.NotZero(t, i%5, "a wrong password")
		case 400:
			assert.Zero(t, i%5, "a right password: %v", a)
		case 503:
			assert.NotEmpty(t, a.header.Get("Retry-After"))
		default:
			t.Errorf("login %d: %v", i, a)
		}
	}
	assert.Positive(t, counts[200])
	peak := memoryOf(t, p, "VmHWM")
	assert.Less(t, peak, int64(hashingBudget+memoryMargin))
	t.Logf("%d logins at once: %d let in, %d wrong passwords, %d turned away; slowest answer %v", crowd, counts[200], counts[400], counts[503], slices.Max(times))
	t.Logf("peak memory %d MiB", peak>>20)
	t.Logf("protected requests: idle %v; meanwhile %v", idle, meanwhile)
}

// quantiles are the times of many requests.
type quantiles []time.Duration // sorted

func (q quantiles) String() string {
	return fmt.Sprintf("p50 %v, p99 %v of %d", q[len(q)/2], q[len(q)*99/100], len(q))
}

// timesOf sends protected requests, one after another, while more returns true.
func timesOf(t *testing.T, d *driver, token string, more func(served int) bool) (times quantiles) {
	t.Helper()
	for more(len(times)) {
		began := time.Now()
		a := d.me(token)
		times = append(times, time.Since(began))
		require.Equal(t, 200, a.status, a.String())
	}
	slices.Sort(times)
	return times
}

// TestOneAddressCannotKeepOthersOut: an address logs in over 500 connections as fast as
// it is answered. Honest users at other addresses, one after another, are let in all the
// same.
//
// OAUTHSV_TEST_HONEST is how many honest users there are, 1 by default.
func TestOneAddressCannotKeepOthersOut(t *testing.T) {
	honest := number(t, "OAUTHSV_TEST_HONEST", 1)
	for kind, attackPassword := range map[string]string{
		"guesses passwords": "guess",
		"has accounts":      middlewaretest.Password, // and no failure counts
	} {
		t.Run(kind, func(t *testing.T) {
			p := startForCrowd(t)
			a := startAttack(p.url, attackPassword)
			letIn, overtaken := 0, int64(0)
			var times quantiles
			for i := range honest {
				d := newDriver(p.url)
				d.from = clientAddress(attacked + i)
				began, before := time.Now(), a.checked()
				answer := d.login(accountName(attacked+i), middlewaretest.Password)
				times = append(times, time.Since(began))
				overtaken = max(overtaken, a.checked()-before)
				d.close()
				if answer.status == 200 {
					letIn++
				} else {
					t.Logf("honest login %d: %v", i, answer)
				}
			}
			a.stop()
			slices.Sort(times)
			t.Logf("%d of %d honest logins were let in, %v; during one of them the attacker had at most %d passwords checked", letIn, honest, times, overtaken)
			t.Logf("the attacker got %v", a)
			t.Logf("peak memory %d MiB", memoryOf(t, p, "VmHWM")>>20)
			assert.GreaterOrEqual(t, letIn*68, honest*60, "nearly all")
			// An address may have 16 logins under way, so no more were before the honest one in
			// the queue. The rest came after it, before its answer was seen.
			assert.Less(t, overtaken, int64(4*16), "the attacker has more than its share of the queue")
			assert.Zero(t, a.answered[0].Load(), "requests without an answer")
			assert.Zero(t, a.without.Load(), "refusals without Retry-After")
		})
	}
}

// attacked are the accounts that the attacker logs in to. Honest users have others.
const attacked = 100

// attack is one address that logs in over many connections.
type attack struct {
	loops    sync.WaitGroup
	stopped  atomic.Bool
	driver   *driver
	answered [600]atomic.Int64 // by status
	without  atomic.Int64      // refusals without Retry-After
}

// startAttack returns when all connections are there but for some that wait for the
// hasher.
func startAttack(url, password string) *attack {
	a := &attack{driver: newDriver(url)}
	a.driver.from = "10.6.6.6"
	hot := make(chan struct{}, crowd)
	for i := range crowd {
		a.loops.Go(func() {
			for first := true; !a.stopped.Load(); first = false {
				answer := a.driver.login(accountName(i%attacked), password)
				a.answered[answer.status].Add(1)
				if (answer.status == 429 || answer.status == 503) && answer.header.Get("Retry-After") == "" {
					a.without.Add(1)
				}
				if first {
					hot <- struct{}{}
				}
			}
		})
	}
	for range crowd - 20 {
		<-hot
	}
	return a
}

// checked returns how many passwords of the attacker were looked at.
func (a *attack) checked() int64 { return a.answered[200].Load() + a.answered[400].Load() }

func (a *attack) stop() {
	a.stopped.Store(true)
	a.loops.Wait()
	a.driver.close()
}

func (a *attack) String() (text string) {
	for status := range a.answered {
		if n := a.answered[status].Load(); n > 0 {
			text += fmt.Sprintf("%d: %d times; ", status, n)
		}
	}
	return text
}
