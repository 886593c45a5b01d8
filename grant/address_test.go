package grant_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/oauthsv/oauthsv/grant"
	"github.com/oauthsv/oauthsv/store/memstore"
)

func TestClientAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("172.16.1.2/12")}
	everyIPv4 := []netip.Prefix{netip.MustParsePrefix("::ffff:0.0.0.0/96")}
	for name, test := range map[string]struct {
		peer      string
		forwarded []string
		want      string
	}{
		"no proxy":                  {"192.0.2.1:5", nil, "192.0.2.1"},
		"not a trusted proxy":       {"192.0.2.1:5", []string{"203.0.113.9"}, "192.0.2.1"},
		"trusted, says nothing":     {"10.1.2.3:5", nil, "10.1.2.3"},
		"trusted":                   {"10.1.2.3:5", []string{"203.0.113.9"}, "203.0.113.9"},
		"IPv6 peer":                 {"[::1]:5", []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv4 in IPv6 peer":         {"[::ffff:10.1.2.3]:5", []string{"203.0.113.9"}, "203.0.113.9"},
		"the client lies":           {"10.1.2.3:5", []string{"1.1.1.1, 203.0.113.9"}, "203.0.113.9"},
		"the client lies in a line": {"10.1.2.3:5", []string{"1.1.1.1", "203.0.113.9"}, "203.0.113.9"},
		"two proxies":               {"10.1.2.3:5", []string{"203.0.113.9, 10.9.9.9"}, "203.0.113.9"},
		"the client is a proxy too": {"10.1.2.3:5", []string{"10.4.4.4, 10.9.9.9"}, "10.4.4.4"},
		"with a port":               {"10.1.2.3:5", []string{"203.0.113.9:80"}, "203.0.113.9"},
		"IPv6 with a port":          {"10.1.2.3:5", []string{"[2001:db8::1]:80"}, "2001:db8::1"},
		"IPv6 in brackets":          {"10.1.2.3:5", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"garbage":                   {"10.1.2.3:5", []string{"unknown"}, "10.1.2.3"},
		"garbage before a proxy":    {"10.1.2.3:5", []string{"1.1.1.1, x, 10.9.9.9"}, "10.9.9.9"},
		"the last line lies not":    {"10.1.2.3:5", []string{"203.0.113.9", "10.9.9.9"}, "203.0.113.9"},
		"zone of a proxy":           {"[fe80::1%eth0]:5", []string{"203.0.113.9"}, "203.0.113.9"},
		"bits beyond the network":   {"172.16.9.9:5", []string{"203.0.113.9"}, "203.0.113.9"},
		"IPv4 in IPv6 client":       {"10.1.2.3:5", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"no port":                   {"@", nil, "@"},
		"empty":                     {"10.1.2.3:5", []string{""}, "10.1.2.3"},
		"every IPv4 is a proxy":     {"192.0.2.1:5", []string{"2001:db8::1, 203.0.113.9"}, "2001:db8::1"},
	} {
		t.Run(name, func(t *testing.T) {
			var seen string
			var log bytes.Buffer
			server, _ := newServer(t, memstore.New(), func(c *grant.Config) {
				if c.TrustedProxies = trusted; strings.HasPrefix(name, "every IPv4") {
					c.TrustedProxies = everyIPv4
				}
				c.Logger = slog.New(slog.NewTextHandler(&log, nil))
				c.Event = func(_ context.Context, event grant.Event) { seen = event.Address }
			})
			for range 2 {
				request := httptest.NewRequest("POST", "/token", strings.NewReader(passwordForm))
				request.RemoteAddr = test.peer
				request.Header.Set("Content-Type", formType)
				request.Header["X-Forwarded-For"] = test.forwarded
				recorder := httptest.NewRecorder()
				server.TokenHandler().ServeHTTP(recorder, request)
				assert.Equal(t, http.StatusOK, recorder.Code)
				assert.Equal(t, test.want, seen)
			}
			warnings := 0
			if name == "not a trusted proxy" {
				warnings = 1
			}
			assert.Equal(t, warnings, strings.Count(log.String(), "X-Forwarded-For"), "warned of once")
			assert.Equal(t, warnings, strings.Count(log.String(), "peer="+test.want), "so that the operator can trust it")
		})
	}
}
