package faulttest

import (
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/bson"
)

// wireProxy stands between the driver and the server. It understands the protocol, so that it
// can change single commands and replies.
type wireProxy struct {
	uri    string       // through the proxy
	opened atomic.Int64 // connections so far
	hooks  atomic.Pointer[hooks]
	target string

	listener net.Listener
	all      sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
}

// hooks change commands and replies. They run on many goroutines at once.
type hooks struct {
	request func(*message)
	reply   func(request, reply *message)
}

func newWireProxy(t *testing.T, uri string) *wireProxy {
	t.Helper()
	location, err := url.Parse(uri)
	require.NoError(t, err)
	p := &wireProxy{target: location.Host}
	p.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	location.Host = p.listener.Addr().String()
	p.uri = location.String()
	p.all.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

// heal ends every fault.
func (p *wireProxy) heal() { p.hooks.Store(nil) }

func (p *wireProxy) stop() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
}

func (p *wireProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.opened.Add(1)
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		// Requests that wait for their replies, by number.
		waiting := new(sync.Map)
		p.all.Go(func() { p.requests(client, server, waiting) })
		p.all.Go(func() { p.replies(client, server, waiting) })
	}
}

func (p *wireProxy) requests(client, server net.Conn, waiting *sync.Map) {
	defer client.Close()
	defer server.Close()
	for {
		m, err := readMessage(client)
		if err != nil {
			return
		}
		if h := p.hooks.Load(); h != nil && h.request != nil && m.isMsg {
			h.request(m)
		}
		waiting.Store(m.request, m)
		if _, err := server.Write(m.bytes()); err != nil {
			return
		}
	}
}

func (p *wireProxy) replies(client, server net.Conn, waiting *sync.Map) {
	defer client.Close()
	defer server.Close()
	for {
		m, err := readMessage(server)
		if err != nil {
			return
		}
		request, _ := waiting.LoadAndDelete(m.response)
		if h := p.hooks.Load(); h != nil && h.reply != nil && m.isMsg && request != nil {
			h.reply(request.(*message), m)
		}
		if _, err := client.Write(m.bytes()); err != nil {
			return
		}
	}
}

func isWrite(m *message) bool {
	return slices.Contains([]string{"insert", "update", "delete", "findAndModify"}, m.command())
}

// failMajority lets the server do the next count writes, and changes its replies: they say
// that no majority has the write. If count is negative, it does so for all writes.
func (p *wireProxy) failMajority(count int64) {
	var left atomic.Int64
	left.Store(count)
	p.hooks.Store(&hooks{reply: func(request, reply *message) {
		if !isWrite(request) || count >= 0 && left.Add(-1) < 0 {
			return
		}
		reply.lackMajority()
	}})
}

// refuse lets the server do none of the commands with a name. The replies say that it refuses
// them, with a code and a text. refuse returns how many there were.
func (p *wireProxy) refuse(command string, code int32, text string) *atomic.Int64 {
	var count atomic.Int64
	p.hooks.Store(&hooks{request: func(m *message) {
		if m.command() == command {
			count.Add(1)
			m.sequences = nil // what to do
		}
	}, reply: func(request, reply *message) {
		if request.command() == command {
			reply.set("ok", 0.0)
			reply.set("code", code)
			reply.set("errmsg", text)
		}
	}})
	return &count
}

// lackMajority adds an error to a reply, as a server does if it has done a write but cannot
// say that a majority has it.
func (m *message) lackMajority() {
	m.set("writeConcernError", bson.D{
		{Key: "code", Value: int32(64)}, {Key: "codeName", Value: "WriteConcernFailed"},
		{Key: "errmsg", Value: "waiting for replication timed out"},
	})
}

// set adds a member to the body, or replaces its value.
func (m *message) set(key string, value any) {
	var body bson.D
	if err := bson.Unmarshal(m.body, &body); err != nil {
		panic(err) // a test's own mistake
	}
	body = slices.DeleteFunc(body, func(e bson.E) bool { return e.Key == key })
	var err error
	if m.body, err = bson.Marshal(append(body, bson.E{Key: key, Value: value})); err != nil {
		panic(err)
	}
}
