package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// metricsURL returns where a process serves its metrics: its log says so.
func (p *process) metricsURL() string {
	p.t.Helper()
	var found []string
	require.Eventually(p.t, func() bool { // the log may arrive after the first line of the output
		found = regexp.MustCompile(`msg="metrics are served" url=(\S+)`).FindStringSubmatch(p.stderr.String())
		return found != nil
	}, 10*time.Second, 10*time.Millisecond, p.stderr)
	return found[1]
}

// scrape reads the metrics as a strict reader does.
func (p *process) scrape() map[string]float64 {
	p.t.Helper()
	response, err := http.Get(p.metricsURL())
	require.NoError(p.t, err)
	defer response.Body.Close()
	require.Equal(p.t, 200, response.StatusCode)
	assert.Equal(p.t, "text/plain; version=0.0.4; charset=utf-8", response.Header.Get("Content-Type"))
	text, err := io.ReadAll(response.Body)
	require.NoError(p.t, err)
	samples, err := parseMetrics(string(text))
	require.NoError(p.t, err)
	return samples
}

var (
	familyLine = regexp.MustCompile(`^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*"\})? (\S+)$`)
	badEscape  = regexp.MustCompile(`(^|[^\\])(\\\\)*\\([^\\n]|$)`)
)

// parseMetrics reads the text format 0.0.4 more strictly than Prometheus does. Each family
// begins with HELP and TYPE, and its samples follow. Nothing comes twice. Counters are not
// negative, and end in _total; gauges do not.
func parseMetrics(text string) (samples map[string]float64, err error) {
	samples = make(map[string]float64)
	families := make(map[string]bool)
	var helped, name, kind string
	if !strings.HasSuffix(text, "\n") {
		return nil, fmt.Errorf("the last line has no end")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if found := familyLine.FindStringSubmatch(line); found != nil {
			switch {
			case found[1] == "HELP" && families[found[2]]:
				return nil, fmt.Errorf("family %s comes twice", found[2])
			case found[1] == "HELP" && badEscape.MatchString(found[3]):
				return nil, fmt.Errorf("bad escape: %s", line)
			case found[1] == "HELP":
				helped, name = found[2], ""
				families[helped] = true
			case found[2] != helped || name != "":
				return nil, fmt.Errorf("TYPE does not follow HELP: %s", line)
			default:
				name, kind = found[2], found[3]
			}
			continue
		}
		found := sampleLine.FindStringSubmatch(line)
		if found == nil {
			return nil, fmt.Errorf("no sample: %q", line)
		}
		value, err := strconv.ParseFloat(found[3], 64)
		isCounter := kind == "counter"
		_, again := samples[found[1]+found[2]]
		switch {
		case err != nil:
			return nil, err
		case found[1] != name:
			return nil, fmt.Errorf("a sample outside its family %q: %s", name, line)
		case !isCounter && kind != "gauge", isCounter != strings.HasSuffix(name, "_total"), isCounter && !(value >= 0):
			return nil, fmt.Errorf("kind %s does not fit: %s", kind, line)
		case again:
			return nil, fmt.Errorf("a sample comes twice: %s", line)
		}
		samples[found[1]+found[2]] = value
	}
	return samples, nil
}

// TestMetricsTextIsEscaped, and the parser of these tests refuses what is wrong.
func TestMetricsTextIsEscaped(t *testing.T) {
	var text metricsText
	text.family("a_total", "counter", "one \\ two\nthree \"four\"")
	text.sample(int64(1), "type", "\"\\\n\xff}")
	text.sample(1500*time.Millisecond, "type", "")
	text.family("b", "gauge", "b")
	text.sample(int64(0))
	assert.Equal(t, `# HELP a_total one \\ two\nthree "four"
# TYPE a_total counter
a_total{type="\"\\\n`+"\uFFFD"+`}"} 1
a_total{type=""} 1.5
# HELP b b
# TYPE b gauge
b 0
`, text.String())
	samples, err := parseMetrics(text.String())
	require.NoError(t, err)
	assert.Len(t, samples, 3)

	const family = "# HELP a_total a\n# TYPE a_total counter\n"
	for _, wrong := range []string{
		family + "a_total 1", "a_total 1\n", family + "b_total 1\n", family + family + "a_total 1\n", family + "a_total 1\na_total 2\n",
		family + "a_total -1\n", family + "a_total x\n", family + "a_total{a=\"\\\"} 1\n", family + "a_total{a=\"\"\"} 1\n", family + "a_total{1=\"\"} 1\n",
		"# TYPE a_total counter\n# HELP a_total a\na_total 1\n", "# HELP a a\n# TYPE a counter\na 1\n", "# HELP a a\\x\n# TYPE a gauge\na 1\n", family + "\na_total 1\n",
	} {
		_, err := parseMetrics(wrong)
		assert.Error(t, err, wrong)
	}
}

// TestMetricsShowWhatHappened: each count moves by what the requests did, and no other event does.
func TestMetricsShowWhatHappened(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:", "-metrics-addr", "127.0.0.1:0", "-reuse-interval", "1s", "-lost-reply-window", "0", "-mail-to-log")
	assert.NotContains(t, p.stderr.String(), "the metrics are public")
	before := p.scrape()
	const (
		calls  = `oauthsv_store_calls_total{method="FindByID"}`
		events = `oauthsv_events_total{type="`
		hits   = `oauthsv_token_verifications_total{cache="hit"}`
		misses = `oauthsv_token_verifications_total{cache="miss"}`
		hashes = "oauthsv_password_hashes_total"
	)
	// moved checks the events, and the other samples that are named.
	moved := func(want map[string]float64) {
		t.Helper()
		after := p.scrape()
		require.Equal(t, len(before), len(after), "no sample appears late")
		for name, value := range after {
			if _, named := want[name]; named || strings.HasPrefix(name, events) {
				assert.Equal(t, want[name], value-before[name], name)
			}
			if strings.Contains(name, "_total") {
				assert.GreaterOrEqual(t, value, before[name], name)
			}
		}
		for name := range want {
			assert.Contains(t, after, name)
		}
		before = after
	}
	password := func(name, password string) (status int) {
		status, _ = p.post("/token", url.Values{"grant_type": {"password"}, "username": {name}, "password": {password}})
		return status
	}

	first := p.login()
	moved(map[string]float64{events + `login_succeeded"}`: 1, hashes: 1})
	assert.Positive(t, before["oauthsv_password_hash_seconds_total"])
	require.Equal(t, 400, password("root", "wrong"))
	moved(map[string]float64{events + `login_failed"}`: 1, hashes: 1})

	second := p.refresh(first.RefreshToken)
	moved(map[string]float64{events + `token_refreshed"}`: 1})
	p.refresh(first.RefreshToken)
	moved(map[string]float64{events + `refresh_token_replayed"}`: 1})

	for range 3 {
		status, _ := p.get("/me", second.AccessToken)
		require.Equal(t, 200, status)
	}
	moved(map[string]float64{hits: 2, misses: 1, calls: 3, "oauthsv_token_refusals_total": 0})
	assert.Positive(t, before[`oauthsv_store_call_seconds_total{method="FindByID"}`])
	status, _ := p.get("/me", "garbage")
	require.Equal(t, 401, status)
	moved(map[string]float64{hits: 0, misses: 1, calls: 0, "oauthsv_token_refusals_total": 1})

	p.refresh(second.RefreshToken) // the generation of first is now older than the last proven one
	status, _ = p.post("/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {first.RefreshToken}})
	require.Equal(t, 400, status)
	moved(map[string]float64{events + `token_refreshed"}`: 1, events + `refresh_token_reused"}`: 1})

	failed := 0.0
	for password("nobody", "wrong") != 429 {
		failed++
		require.Less(t, failed, 100.0)
	}
	moved(map[string]float64{events + `login_failed"}`: failed, events + `login_throttled"}`: 1, hashes: failed})

	response, err := http.Post(p.url+"/accounts", "application/json", strings.NewReader(`{"name":"ann","email":"ann@example.org"}`))
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, 202, response.StatusCode)
	require.Eventually(t, func() bool { return p.scrape()["oauthsv_mails_waiting"] == 0 }, time.Minute, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		return p.scrape()[`oauthsv_mails_total{result="sent"}`] == before[`oauthsv_mails_total{result="sent"}`]+1
	}, time.Minute, 10*time.Millisecond)
	moved(map[string]float64{`oauthsv_mails_total{result="sent"}`: 1, `oauthsv_mails_total{result="failed"}`: 0, "oauthsv_mail_retries_total": 0})
}

// TestMetricsStandAlone: on their own address, under their own path, for GET; and in no log
// or answer of the server itself.
func TestMetricsStandAlone(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "bolt:a.db", "-metrics-addr", "127.0.0.1:0")
	status, _ := p.get("/metrics", "")
	assert.Equal(t, 404, status)
	samples := p.scrape()
	assert.NotContains(t, samples, "oauthsv_mails_waiting", "no mail is configured")
	base := strings.TrimSuffix(p.metricsURL(), "/metrics")
	for path, want := range map[string]int{"/": 404, "/token": 404, "/metrics/": 404, "/debug/pprof/": 404} {
		response, err := http.Get(base + path)
		require.NoError(t, err)
		response.Body.Close()
		assert.Equal(t, want, response.StatusCode, path)
	}
	response, err := http.Post(base+"/metrics", "text/plain", nil)
	require.NoError(t, err)
	response.Body.Close()
	assert.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)

	// The backup of a bolt file goes past the meter.
	request, err := http.NewRequestWithContext(t.Context(), "GET", p.url+"/admin/backup", nil)
	request.Header.Set("Authorization", "Bearer "+p.login().AccessToken)
	status, _ = p.do(request, err)
	assert.Equal(t, 200, status)
	assert.EqualValues(t, 1, p.scrape()[`oauthsv_events_total{type="backup_made"}`])

	assert.Equal(t, 0, p.stop(syscall.SIGTERM))
	_, err = http.Get(base + "/metrics")
	assert.Error(t, err, "they end with the server")
	assert.NotContains(t, p.stderr.String(), "no longer served")
}

// TestNoMetricsByDefault: nothing else listens.
func TestNoMetricsByDefault(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:")
	assert.NotContains(t, p.stderr.String(), "metrics")
}

func TestRefusesMetricsAddress(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, address := range map[string]string{
		"in use": taken.Addr().String(), "no port": "127.0.0.1", "no such port": "127.0.0.1:99999", "no such host": "192.0.2.1:0",
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			command := command(directory, nil, "-addr", "127.0.0.1:0", "-issuer", "http://127.0.0.1", "-store", "memory:", "-metrics-addr", address)
			output, err := command.CombinedOutput()
			require.Error(t, err)
			assert.Equal(t, 1, command.ProcessState.ExitCode())
			assert.Regexp(t, `^example_server: -metrics-addr "`+regexp.QuoteMeta(address)+`": [^\n]+\n$`, string(output))
			assert.NoFileExists(t, directory+"/oauthsv.key", "a start that is refused leaves nothing behind")
		})
	}
}

// TestWarnsOfPublicMetrics: everybody who reaches the address can read them.
func TestWarnsOfPublicMetrics(t *testing.T) {
	p := start(t, t.TempDir(), "-store", "memory:", "-metrics-addr", "0.0.0.0:0")
	p.assertLogs("the metrics are public")
}
