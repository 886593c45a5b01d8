package faulttest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// proxy stands between the driver and the server.
type proxy struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	uri   string // through the proxy
}

func newProxy(t *testing.T, uri string) *proxy {
	t.Helper()
	location, err := url.Parse(uri)
	require.NoError(t, err)
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &proxy{t: t, proxy: toxiproxy.NewProxy(server, "mongodb", "127.0.0.1:0", location.Host)}
	require.NoError(t, p.proxy.Start())
	location.Host = p.proxy.Listen
	p.uri = location.String()
	return p
}

// limit cuts a share of the connections, which is toxicity, before any byte passes in a
// direction. "upstream" cuts before the request, and "downstream" after the server has
// done the request and before its reply.
func (p *proxy) limit(direction string, toxicity float64) {
	p.add("limit_data", direction, toxicity, `{"bytes":0}`)
}

// latency delays each direction.
func (p *proxy) latency(milliseconds int) {
	p.add("latency", "upstream", 1, fmt.Sprintf(`{"latency":%d}`, milliseconds))
	p.add("latency", "downstream", 1, fmt.Sprintf(`{"latency":%d}`, milliseconds))
}

func (p *proxy) add(kind, direction string, toxicity float64, attributes string) {
	p.t.Helper()
	_, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"type":%q,"stream":%q,"toxicity":%v,"attributes":%s}`, kind, direction, toxicity, attributes)))
	require.NoError(p.t, err)
}

// refuse closes all connections and accepts no new ones.
func (p *proxy) refuse() { p.proxy.Stop() }

// heal ends every fault.
func (p *proxy) heal() {
	p.t.Helper()
	p.proxy.Toxics.ResetToxics(p.t.Context())
	if !p.proxy.Enabled {
		require.NoError(p.t, p.proxy.Start())
	}
}
