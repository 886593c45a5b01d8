package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/oauthsv/oauthsv/middleware/middlewaretest"
)

const (
	soakClients = 8
	soakUsers   = 8 // of each client
	soakSamples = 120

	soakAccessTTL  = 2 * time.Second
	soakRefreshTTL = 4 * time.Second
)

// soakSample is what a server takes at one moment.
type soakSample struct {
	goroutines, descriptors, heap, resident, file float64
}

// TestSoakStaysFlat runs a mixed load with short lifetimes, and looks at what the server
// takes. The first quarter of the time is for it to warm up. Then the last quarter must
// take no more than the second, within a tolerance that a leak outgrows in the long form.
//
// OAUTHSV_TEST_SOAK is how long the load lasts, 6 seconds by default.
func TestSoakStaysFlat(t *testing.T) {
	t.Parallel()
	length := duration(t, "OAUTHSV_TEST_SOAK", 6*time.Second)
	directory := t.TempDir()
	path := filepath.Join(directory, "oauthsv.db")
	makeAccounts(t, path, middlewaretest.Hasher(), soakClients*soakUsers)
	p := startChild(t, directory, "-access-ttl", soakAccessTTL.String(), "-refresh-ttl", soakRefreshTTL.String())

	var counts tally
	stop := make(chan struct{})
	var load sync.WaitGroup
	for i := range soakClients {
		load.Go(func() {
			c := &soakClient{t: t, counts: &counts, driver: newDriver(p.url), random: rand.New(rand.NewPCG(5, uint64(i))), first: i * soakUsers}
			defer c.driver.close()
			for stopped := false; !stopped; {
				c.step()
				select {
				case <-stop:
					stopped = true
				default:
				}
			}
		})
	}
	var samples []soakSample
	watcher := newDriver(p.url)
	ticker := time.NewTicker(length / soakSamples)
	for range soakSamples {
		<-ticker.C
		samples = append(samples, takeSample(t, p, watcher, path))
	}
	ticker.Stop()
	close(stop)
	load.Wait()
	watcher.close()
	assert.NotContains(t, p.stderr.String(), "DATA RACE")
	assert.Equal(t, 0, p.stop(syscall.SIGTERM))

	t.Logf("%v of load: %v", length, &counts)
	const mib = 1 << 20
	for _, figure := range []struct {
		name         string
		of           func(soakSample) float64
		unit, factor float64
		spare        float64
	}{
		{"goroutines", func(s soakSample) float64 { return s.goroutines }, 1, 1.2, 10},
		{"file descriptors", func(s soakSample) float64 { return s.descriptors }, 1, 1.2, 5},
		{"heap, MiB", func(s soakSample) float64 { return s.heap }, mib, 1.2, 2 * mib},
		{"resident memory, MiB", func(s soakSample) float64 { return s.resident }, mib, 1.2, 8 * mib},
		{"store file, MiB", func(s soakSample) float64 { return s.file }, mib, 1.2, 1 * mib},
	} {
		quarter := soakSamples / 4
		begin, end := median(samples[quarter:2*quarter], figure.of), median(samples[3*quarter:], figure.of)
		most := slices.Max(valuesOf(samples, figure.of))
		t.Logf("%s: %.1f in the second quarter, %.1f in the last, at most %.1f", figure.name, begin/figure.unit, end/figure.unit, most/figure.unit)
		assert.LessOrEqual(t, end, begin*figure.factor+figure.spare, figure.name)
	}
}

func valuesOf(samples []soakSample, of func(soakSample) float64) (values []float64) {
	for _, s := range samples {
		values = append(values, of(s))
	}
	return values
}

func median(samples []soakSample, of func(soakSample) float64) float64 {
	values := valuesOf(samples, of)
	slices.Sort(values)
	return values[len(values)/2]
}

func takeSample(t *testing.T, p *process, watcher *driver, path string) soakSample {
	t.Helper()
	var own figures
	response, err := watcher.http.Get(p.url + "/figures")
	require.NoError(t, err, p.stderr)
	require.NoError(t, decode(response, &own))
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.command.Process.Pid))
	require.NoError(t, err)
	file, err := os.Stat(path)
	require.NoError(t, err)
	return soakSample{
		goroutines: float64(own.Goroutines), descriptors: float64(len(descriptors)), heap: float64(own.Heap),
		resident: float64(memoryOf(t, p, "VmRSS")), file: float64(file.Size()),
	}
}

// memoryOf returns a figure of /proc/PID/status in bytes: VmRSS is what a process has
// now, VmHWM the most that it has had.
func memoryOf(t *testing.T, p *process, name string) (bytes int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "\n"+name+":")
	require.True(t, found, string(text))
	_, err = fmt.Sscan(rest, &bytes)
	require.NoError(t, err)
	return bytes * 1024
}

// soakClient does the rounds of some users.
type soakClient struct {
	t         *testing.T
	counts    *tally
	driver    *driver
	random    *rand.Rand
	first     int // of its users
	abandoned []abandonedSession
}

// abandonedSession is a session that nobody uses until it has expired.
type abandonedSession struct {
	answer
	since time.Time
}

// step is one session of a user, and what is wrong with other clients at times.
func (c *soakClient) step() {
	name := accountName(c.first + c.random.IntN(soakUsers))
	switch c.random.IntN(30) {
	case 0:
		c.refused(c.driver.login(name, "guess"), 400)
	case 1:
		c.hangUp()
	case 2:
		c.driver.close() // the next request makes a new connection
	}
	c.presentExpired()

	began := time.Now()
	a := c.driver.login(name, middlewaretest.Password)
	if !assert.Equal(c.t, 200, a.status, "login: %v", a) {
		return
	}
	c.counts.logins.Add(1)
	for range c.random.IntN(3) {
		c.request(a, began)
		asked := time.Now()
		next := c.driver.refresh(a.RefreshToken)
		if next.status != 200 {
			assert.Greater(c.t, time.Since(began), soakRefreshTTL-time.Second, "refresh: %v", next)
			return
		}
		a, began = next, asked
		c.counts.refreshes.Add(1)
	}
	c.request(a, began)
	if c.random.IntN(2) == 0 {
		revoked := c.driver.revoke(a.RefreshToken)
		assert.Equal(c.t, 200, revoked.status, "revocation: %v", revoked)
		c.counts.revocations.Add(1)
		c.refused(c.driver.me(a.AccessToken), 401)
	} else if len(c.abandoned) < 50 {
		c.abandoned = append(c.abandoned, abandonedSession{a, time.Now()})
	}
}

// request may be refused only if the access token can have expired. Tokens count whole
// seconds, so that may be a second early.
func (c *soakClient) request(a answer, issued time.Time) {
	b := c.driver.me(a.AccessToken)
	if b.status != 200 {
		assert.Greater(c.t, time.Since(issued), soakAccessTTL-time.Second, "protected request: %v", b)
		return
	}
	c.counts.requests.Add(1)
}

func (c *soakClient) refused(a answer, status int) {
	assert.Equal(c.t, status, a.status, "%v", a)
	c.counts.refused.Add(1)
}

func (c *soakClient) presentExpired() {
	for len(c.abandoned) > 0 && time.Since(c.abandoned[0].since) > soakRefreshTTL {
		c.refused(c.driver.me(c.abandoned[0].AccessToken), 401)
		c.refused(c.driver.refresh(c.abandoned[0].RefreshToken), 400)
		c.abandoned = c.abandoned[1:]
	}
}

// hangUp sends half a login.
func (c *soakClient) hangUp() {
	connection, err := net.Dial("tcp", strings.TrimPrefix(c.driver.url, "http://"))
	if !assert.NoError(c.t, err) {
		return
	}
	defer connection.Close()
	_, err = fmt.Fprint(connection, "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 90\r\n\r\ngrant_type=password&user")
	assert.NoError(c.t, err)
}
