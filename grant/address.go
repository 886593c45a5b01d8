package grant

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// addressFinder finds the address of a request's client.
type addressFinder struct {
	trusted []netip.Prefix
	logger  *slog.Logger
	warn    sync.Once
}

// find returns the peer of the connection, unless that is a trusted proxy. Then it
// returns the right-most hop of X-Forwarded-For that is none: what stands left of it
// was written by the client itself.
func (f *addressFinder) find(r *http.Request) string {
	peer := peerAddress(r)
	forwarded := r.Header["X-Forwarded-For"]
	if len(forwarded) == 0 {
		return peer
	}
	if !f.isTrusted(peer) {
		f.warn.Do(func() {
			f.logger.Warn("a request has X-Forwarded-For and does not come from a trusted proxy, so the header is ignored; if it is your proxy, trust its network", "peer", peer)
		})
		return peer
	}
	client := peer
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			return client // nobody knows who came before
		}
		client = hop
		if !f.isTrusted(hop) {
			return client
		}
	}
	return client
}

func (f *addressFinder) isTrusted(address string) bool {
	parsed, err := netip.ParseAddr(address)
	if err != nil {
		return false
	}
	parsed = parsed.Unmap().WithZone("")
	for _, network := range f.trusted {
		if network.Contains(parsed) {
			return true
		}
	}
	return false
}

// plainNetwork returns an IPv4 network as such, also if it was written as one of IPv6.
func plainNetwork(network netip.Prefix) netip.Prefix {
	if network.Addr().Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network.Masked()
}

// parseHop reads an address, which some proxies write with a port.
func parseHop(text string) (address string, ok bool) {
	text = strings.TrimSpace(text)
	if parsed, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return parsed.Unmap().String(), true
	}
	if parsed, err := netip.ParseAddrPort(text); err == nil {
		return parsed.Addr().Unmap().String(), true
	}
	return "", false
}

func peerAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
