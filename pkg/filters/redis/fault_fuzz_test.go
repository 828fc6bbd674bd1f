package redis

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// bench is a filter on a loop without sockets, whose servers follow a script.
type bench struct {
	tb     testing.TB
	loop   *netloop.Loop
	filter *Filter
	w      *worker
	client *netloop.Conn
	peers  []*peer
	script []byte
	wrote  int // bytes that the client got
}

// peer is a scripted server's end of one connection.
type peer struct {
	conn   *netloop.Conn
	in     []byte
	out    []byte // replies that are not yet sent
	closed bool
}

// newBench takes the command table, which is worth making only once.
func newBench(tb testing.TB, table *commandTable, shards int, script []byte) *bench {
	tb.Helper()
	var list []filters.Shard
	for i := range shards {
		name := fmt.Sprintf("s%d", i+1)
		list = append(list, filters.Shard{Name: name, Primary: endpointOf("10.0.0.1:"+name, name)})
	}
	b := &bench{tb: tb, loop: netloop.NewTestLoop(), script: script}
	builder := &Builder{log: slog.New(slog.DiscardHandler), commands: table, workers: map[*netloop.Loop]*worker{}}
	all := clusters{"main": clusterOf("main", list...)}
	network, err := builder.Build(defaults(), filters.Context{
		Listener: "test", Clusters: all, Secrets: all, Loops: func() []*netloop.Loop { return []*netloop.Loop{b.loop} },
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		tb.Fatal(err)
	}
	b.filter = network.(*Filter)
	b.w = builder.worker(b.loop)
	b.loop.OnDial = func(c *netloop.Conn, _, _ string) { b.peers = append(b.peers, &peer{conn: c}) }
	b.client = b.loop.Pipe(nil, netloop.Downstream)
	b.client.SetDriver(b.filter.Accept(b.client))
	return b
}

// next takes a byte of the script; 0 when it is over.
func (b *bench) next() int {
	if len(b.script) == 0 {
		return 0
	}
	n := b.script[0]
	b.script = b.script[1:]
	return int(n)
}

// serve lets every server answer what it has got, as the script says.
func (b *bench) serve() {
	for i := 0; i < len(b.peers); i++ {
		p := b.peers[i]
		if p.closed || b.gone(p.conn) {
			continue
		}
		p.in = append(p.in, p.conn.TakeOutput()...)
		b.answer(p)
		n := len(p.out)
		switch b.next() % 8 {
		case 1: // half of it
			n /= 2
		case 2: // hardly anything
			n = min(n, 3)
		case 3:
			n = 0
		}
		if n > 0 {
			out := p.out[:n]
			p.out = append([]byte(nil), p.out[n:]...)
			p.conn.Feed(out)
		}
		b.loop.Turn()
	}
	b.wrote += len(b.client.TakeOutput())
}

func (b *bench) gone(c *netloop.Conn) bool {
	for _, p := range b.w.pools {
		for _, u := range append(append([]*upstream(nil), p.shared...), p.idle...) {
			if u != nil && u.conn == c {
				return u.closed
			}
		}
	}
	return false
}

// answer makes a reply to each whole request.
func (b *bench) answer(p *peer) {
	lim := redisproto.DefaultLimits()
	for len(p.in) > 0 {
		var cmd redisproto.Command
		n, err := cmd.Parse(p.in, &lim)
		if err != nil {
			if !errors.Is(err, redisproto.ErrIncomplete) {
				b.tb.Fatalf("a server got a malformed request: %v: %.200q", err, p.in)
			}
			return
		}
		name := strings.ToUpper(string(cmd.Arg(p.in, 0)))
		p.in = p.in[n:]
		b.reply(p, name, len(cmd.Args))
		if p.closed {
			return
		}
	}
}

func (b *bench) reply(p *peer, name string, args int) {
	ok := map[string]string{
		"PING": "+PONG\r\n", "SELECT": "+OK\r\n", "MULTI": "+OK\r\n", "READONLY": "+OK\r\n", "DBSIZE": ":7\r\n",
		"HELLO": "%1\r\n+proto\r\n:3\r\n", "EXEC": "*1\r\n+OK\r\n", "SCAN": "*2\r\n$1\r\n0\r\n*0\r\n", "KEYS": "*1\r\n$1\r\nk\r\n",
		"MGET": "*" + fmt.Sprint(args-1) + "\r\n" + strings.Repeat("$1\r\nv\r\n", args-1), "WAIT": ":0\r\n",
	}[name]
	if ok == "" {
		ok = "$5\r\nvalue\r\n"
	}
	switch b.next() % 24 {
	case 1:
		ok = "-ERR no\r\n"
	case 2:
		ok = bulk(strings.Repeat("x", 50_000))
	case 3:
		ok = bulk(strings.Repeat("x", 1_500_000))
	case 4:
		ok = "*3\r\n" + bulk(strings.Repeat("x", 40_000)) + ":1\r\n" + bulk(strings.Repeat("y", 40_000))
	case 5:
		ok = "nonsense\r\n"
	case 6:
		ok = ">1\r\n+push\r\n" + ok
	case 7:
		ok += "+more\r\n"
	case 8:
		ok = ""
	case 9:
		p.closed = true
		p.conn.Feed(p.out)
		p.conn.FeedEOF()
		return
	case 10:
		p.closed = true
		p.conn.FeedError(io.ErrUnexpectedEOF)
		return
	case 11:
		ok = "-MOVED 1 10.0.0.1:1\r\n"
	case 12:
		ok = "-LOADING wait\r\n"
	}
	p.out = append(p.out, ok...)
}

func (b *bench) check() {
	b.tb.Helper()
	if err := b.w.check(); err != nil {
		b.tb.Fatal(err)
	}
}

// finish ends the client and the servers, after which nothing may be left.
func (b *bench) finish() {
	b.tb.Helper()
	b.client.StallOutput(false)
	b.client.FeedEOF()
	b.script = nil
	for range 600 { // what the client sent is worked off
		b.loop.Advance(500 * time.Millisecond)
		b.serve()
		if b.loop.Stats().Downstream == 0 {
			break
		}
	}
	b.loop.Advance(time.Minute)
	b.check()
	if err := b.w.checkIdle(); err != nil {
		b.tb.Fatal(err)
	}
	for _, f := range b.w.filters {
		if f.clients.Len() != 0 {
			b.tb.Fatalf("%d clients are left", f.clients.Len())
		}
	}
	for _, p := range b.w.pools {
		p.retire()
	}
	b.loop.Advance(time.Second)
	if st := b.loop.Stats(); st.Upstream+st.Downstream > 0 || st.HeldBytes > 72<<10 { // what reads fill
		b.tb.Fatalf("%d and %d connections are left, and %d bytes", st.Downstream, st.Upstream, st.HeldBytes)
	}
}

// FuzzClientBytes feeds any bytes in any pieces to a client's connection while
// the servers do as the script says.
func FuzzClientBytes(f *testing.F) {
	add := func(script string, requests ...[]string) {
		var all strings.Builder
		for _, r := range requests {
			all.WriteString(redistest.Command(r...))
		}
		f.Add([]byte(all.String()), []byte(script))
	}
	get, set := []string{"GET", "a"}, []string{"SET", "b", strings.Repeat("v", 40_000)}
	add("", get, set, []string{"MGET", "a", "b", "c", "d"}, []string{"PING"})
	add("\x01\x02\x03\x04\x05\x06\x07\x08\x09", get, get, get, get, get, get)
	add("\x02\x03\x03\x03\x04\x04\x04", []string{"MGET", "a", "b", "c", "d"}, get, []string{"DEL", "a", "b", "c"}, get)
	add("", []string{"MULTI"}, get, []string{"EXEC"}, []string{"WATCH", "a"}, []string{"MULTI"}, []string{"DISCARD"})
	add("\x00\x00\x09\x0a", []string{"BLPOP", "a", "0"}, get, []string{"WAIT", "1", "0"}, get)
	add("\x0a\x00", []string{"SUBSCRIBE", "a", "b"}, []string{"UNSUBSCRIBE"}, get)
	add("\x03\x08\x00", []string{"SCAN", "0"}, []string{"KEYS", "*"}, []string{"DBSIZE"}, []string{"RANDOMKEY"}, get)
	add("", []string{"HELLO", "3"}, get, []string{"CLIENT", "REPLY", "OFF"}, get, []string{"SELECT", "20"}, get)
	add("\x0b\x0c", []string{"EVAL", "return 1", "1", "a"}, []string{"SCRIPT", "LOAD", "x"}, []string{"RESET"}, []string{"QUIT"})
	f.Add([]byte("GET a\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$70000\r\n"+strings.Repeat("x", 70_000)+"\r\n*1\r\n$4\r\nPING\r\n"), []byte("\x01\x00\x01"))
	table := newCommandTable()
	f.Fuzz(func(t *testing.T, data, script []byte) {
		if len(data) > 1<<20 || len(script) > 1<<12 {
			return
		}
		b := newBench(t, table, 3, script)
		b.run(data)
		b.finish()
	})
}

// run feeds data in pieces, with whatever else the script has.
func (b *bench) run(data []byte) {
	for len(data) > 0 {
		n := len(data)
		switch step := b.next(); step % 16 {
		case 0, 1, 2, 3:
		case 4:
			b.client.StallOutput(true)
		case 5:
			b.client.StallOutput(false)
		case 6:
			b.loop.Advance(time.Duration(b.next()) * 40 * time.Millisecond)
		case 7:
			n = min(n, 70_000)
		default:
			n = min(n, step)
		}
		b.client.Feed(data[:n])
		data = data[n:]
		b.loop.Turn()
		b.check()
		b.serve()
		b.check()
	}
}

// FuzzRequests does the same with requests that the input only chooses, so
// that more of them mean something.
func FuzzRequests(f *testing.F) {
	requests := fuzzRequests()
	all := make([]byte, len(requests))
	for i := range all {
		all[i] = byte(i)
	}
	f.Add(all, []byte(""), byte(3))
	f.Add(all, []byte("\x00\x08\x01\x02\x00\x03\x04\x05\x06"), byte(3))
	f.Add(all, []byte("\x04\x03\x03\x03\x02\x03\x02\x05\x06"), byte(1))
	table := newCommandTable()
	f.Fuzz(func(t *testing.T, choice, script []byte, shards byte) {
		if len(choice) > 256 || len(script) > 1<<12 {
			return
		}
		b := newBench(t, table, 1+int(shards%4), script)
		var data []byte
		for _, i := range choice {
			data = append(data, requests[int(i)%len(requests)]...)
		}
		b.run(data)
		b.finish()
	})
}

func fuzzRequests() []string {
	lines := []string{
		"GET a", "GET b", "GET c", "GET d", "SET a 1", "MGET a b c d e f", "DEL a b c", "MSET a 1 b 2 c 3", "EXISTS a", "PING",
		"PING x", "ECHO x", "SELECT 1", "SELECT 20", "SELECT 0", "MULTI", "EXEC", "DISCARD", "WATCH a", "WATCH a b", "UNWATCH",
		"BLPOP a 0", "BLPOP b c 1", "WAIT 1 0", "XREAD BLOCK 0 STREAMS a $", "SUBSCRIBE a", "SUBSCRIBE a b c", "UNSUBSCRIBE",
		"UNSUBSCRIBE a", "PSUBSCRIBE a*", "PUNSUBSCRIBE", "SSUBSCRIBE a", "SUNSUBSCRIBE", "PUBLISH a x", "HELLO 3", "HELLO 2",
		"HELLO", "RESET", "QUIT", "SCAN 0", "SCAN 5 COUNT 10", "KEYS *", "DBSIZE", "RANDOMKEY", "FLUSHALL", "INFO", "CLIENT ID",
		"CLIENT LIST", "CLIENT REPLY OFF", "CLIENT REPLY SKIP", "CLIENT REPLY ON", "CLIENT UNBLOCK 1", "CLIENT KILL ID 1",
		"CLIENT TRACKING ON", "CLIENT PAUSE 1", "MONITOR", "COMMAND COUNT", "CONFIG GET x", "EVAL x 1 a", "EVAL x 0", "SCRIPT LOAD x",
		"SCRIPT EXISTS x", "FUNCTION LIST", "CLUSTER INFO", "OBJECT HELP", "NOSUCH", "NOSUCH a b", "GET", "TIME", "AUTH x", "ACL WHOAMI",
		"PUBSUB CHANNELS", "PUBSUB NUMSUB a b", "SORT a", "ZUNIONSTORE a 2 a b", "GETRANGE a 0 1", "SHUTDOWN", "DEBUG SLEEP 0",
	}
	var all []string
	for _, l := range lines {
		all = append(all, redistest.Command(strings.Split(l, " ")...))
	}
	value := strings.Repeat("v", 40_000)
	return append(all,
		redistest.Command("SET", "a", value), redistest.Command("SET", "b", strings.Repeat(value, 40)),
		redistest.Command("MSET", "a", value, "b", value), redistest.Command("RPUSH", "c", value, value, "x", value),
		redistest.Command("EVAL", value, "1", "a"), redistest.Command("PUBLISH", "a", value),
		"GET a\r\n", "PING\r\n", "\r\n", "*0\r\n", "*-1\r\n", "SET a \"x y\"\r\n",
		"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n"+bulk(value)+":1\r\n", "*1\r\n$3\r\nGETxx", "$5\r\n",
	)
}
