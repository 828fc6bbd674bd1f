package redisproto

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// server is a real Redis that speaks for what is right.
type server struct{ addr string }

// startServer runs redis-server on a free port until the test ends.
func startServer(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	l.Close()
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir(),
		"--cluster-enabled", "yes", "--cluster-port", "0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			return &server{addr: addr}
		}
		if time.Now().After(deadline) {
			t.Fatalf("redis-server does not listen: %v", err)
		}
	}
}

// ask sends raw bytes on a connection of their own and returns the replies to
// them, which must be as many as want.
func (s *server) ask(t *testing.T, raw string, want int) []Value {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	lim := DefaultLimits()
	chunk := make([]byte, 1<<16)
	var got []byte
	var values []Value
	for pos := 0; len(values) < want; {
		v, n, err := ParseValue(got[pos:], &lim)
		if err == nil {
			values = append(values, v)
			pos += n
			continue
		}
		if !errors.Is(err, ErrIncomplete) {
			t.Fatal(err)
		}
		n, err = conn.Read(chunk)
		got = append(got, chunk[:n]...)
		if err != nil {
			t.Fatalf("after %d bytes of the reply to %.100q: %v", len(got), raw, err)
		}
	}
	return values
}

func TestAgainstServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	t.Run("keys", func(t *testing.T) { testServerKeys(t, s) })
	t.Run("table", func(t *testing.T) { testServerTable(t, s) })
	t.Run("inline", func(t *testing.T) { testServerInline(t, s) })
	t.Run("errors", func(t *testing.T) { testServerErrors(t, s) })
	t.Run("slots", func(t *testing.T) { testServerSlots(t, s) })
}

// testServerKeys compares with COMMAND GETKEYS.
func testServerKeys(t *testing.T, s *server) {
	for _, line := range []string{
		"get a", "set a b ex 10", "getex a persist", "mget a b c", "mset a 1 b 2", "msetnx a 1", "del a b", "exists a a",
		"unlink a b", "touch a", "rename a b", "copy a b replace", "append a b", "incrbyfloat a 1", "lcs a b len",
		"bitop and d a b", "bitop not d a", "bitfield a get u8 0", "bitfield_ro a get u8 0", "setrange a 1 x",
		"pfcount a b", "pfmerge d a b", "hset a f v", "hrandfield a 2", "lpush a 1 2", "lmove a b left right",
		"blmove a b left right 0", "rpoplpush a b", "brpoplpush a b 0", "blpop a b 0", "brpop a 0", "lmpop 2 a b left",
		"blmpop 0 2 a b right count 3", "sinterstore d a b", "sintercard 2 a b limit 1", "sunion a b", "smove a b m",
		"zadd a 1 m", "zunionstore d 2 a b weights 1 2", "zinterstore d 1 a", "zdiffstore d 2 a b", "zunion 2 a b withscores",
		"zintercard 2 a b", "zdiff 1 a", "zrangestore d a 0 1", "bzpopmin a b 0", "bzmpop 0 1 a min", "zmpop 2 a b max",
		"geoadd a 1 2 m", "geosearch a frommember m byradius 1 km", "geosearchstore d a frommember m byradius 1 km",
		"georadius a 1 2 3 km", "georadius a 1 2 3 km store d", "georadius a 1 2 3 km storedist d count 1",
		"georadius a 1 2 3 km store d storedist e", "georadiusbymember a m 3 km store d", "georadius_ro a 1 2 3 km",
		"sort a", "sort a store d", "sort a by w_* limit 0 1 get store alpha store d", "sort a store d store e", "sort_ro a by x", "sort_ro a store d",
		"xadd a * f v", "xread streams a 0", "xread count 2 block 0 streams a b 0 0", "xclaim a g c 0 1-1",
		"xreadgroup group g c count 1 noack streams a b > >", "xgroup create a g $", "xgroup delconsumer a g c",
		"xinfo stream a full", "xautoclaim a g c 0 0", "xack a g 1-1", "xtrim a maxlen 1",
		"eval s 2 a b c", "evalsha x 1 a", "eval_ro s 1 a", "fcall f 2 a b", "fcall_ro f 1 a",
		"object encoding a", "object freq a", "memory usage a samples 1", "dump a", "restore a 0 x", "expire a 1",
		"migrate h 1 a 0 9", "migrate h 1 a 0 9 copy replace", "watch a b", "type a", "persist a", "pexpireat a 1",
		"substr a 0 1", "getset a b", "setbit a 1 1", "pfdebug encoding a", "restore-asking a 0 x",
	} {
		args := strings.Split(line, " ")
		compareKeys(t, s, args)
	}
	compareKeys(t, s, []string{"migrate", "h", "1", "", "0", "9", "auth2", "keys", "p", "keys", "a", "b"})
	compareKeys(t, s, []string{"migrate", "h", "1", "", "0", "9", "copy", "keys", "a"})
}

func compareKeys(t *testing.T, s *server, args []string) {
	t.Helper()
	reply := s.ask(t, string(AppendCommand(nil, append([]string{"command", "getkeys"}, args...)...)), 1)[0]
	if reply.IsError() {
		t.Errorf("%q: the server says %s", args, reply.Str)
		return
	}
	var want []string
	for i := range reply.Elems {
		want = append(want, string(reply.Elems[i].Str))
	}
	got, err := keysOf(args)
	if err != nil {
		t.Errorf("%q: %v", args, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%q (-server +table):\n%s", args, diff)
	}
}

// testServerTable asserts that the table has each command of the server, with
// the same place of its first key.
func testServerTable(t *testing.T, s *server) {
	for _, v := range s.ask(t, "COMMAND\r\n", 1)[0].Elems {
		spec := Lookup(v.Elems[0].Str)
		if spec == nil {
			t.Errorf("%s is not in the table", v.Elems[0].Str)
			continue
		}
		if first := int(v.Elems[3].Int); spec.FirstKey != first {
			t.Errorf("%s: first key %d, want %d", spec.Name, spec.FirstKey, first)
		}
		for _, sub := range v.Elems[9].Elems {
			_, name, _ := strings.Cut(string(sub.Elems[0].Str), "|")
			if spec.Subcommand([]byte(name)) == nil {
				t.Errorf("%s is not in the table", sub.Elems[0].Str)
			}
		}
	}
}

// testServerInline asserts that an inline request means to the server what its
// canonical form says.
func testServerInline(t *testing.T, s *server) {
	lim := DefaultLimits()
	for _, line := range []string{
		"ECHO abc", "  echo \t abc  ", `echo "a b"`, `echo 'a b'`, `echo "\x41\x0a\n\r\t\a\b\"\q"`, `echo '\'\n"'`, `echo a"b c"`,
		`echo ""`, `echo "\x4"`, "echo a\vb", "ECHO\ra", "echo a b", `echo "\xzz"`,
	} {
		raw := []byte(line + "\r\n")
		var c Command
		if _, err := c.Parse(raw, &lim); err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		want := s.ask(t, string(raw), 1)[0]
		got := s.ask(t, string(c.AppendTo(nil, raw)), 1)[0]
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-inline +canonical):\n%s", line, diff)
		}
	}
}

// testServerErrors compares the wording of protocol errors.
func testServerErrors(t *testing.T, s *server) {
	lim := DefaultLimits()
	for _, raw := range []string{
		"*x\r\n", "*\r\n", "*02\r\n", "*+1\r\n", "*99999999999\r\n", "*1\r\nx1\r\n", "*1\r\n$x\r\n", "*1\r\n$-1\r\n",
		"*1\r\n$536870913\r\n", "*1\r\n$03\r\n", "*2\r\n$4\r\nPING\r\n:1\r\n", "echo \"a\r\n", "echo 'a'b\r\n",
		strings.Repeat("a", 70000),
	} {
		var c Command
		_, err := c.Parse([]byte(raw), &lim)
		want := string(s.ask(t, raw, 1)[0].Str)
		if got := fmt.Sprintf("ERR %v", err); got != want {
			t.Errorf("%.40q: %q, want %q", raw, got, want)
		}
	}
}

// testServerSlots compares with CLUSTER KEYSLOT.
func testServerSlots(t *testing.T, s *server) {
	for _, key := range []string{"foo", "123456789", "{user1000}.following", "foo{}{bar}", "foo{{bar}}zap", "foo{bar}{zap}", "a}b{c}", "\xff\x80"} {
		want := s.ask(t, string(AppendCommand(nil, "CLUSTER", "KEYSLOT", key)), 1)[0].Int
		if got := int64(Slot([]byte(key))); got != want {
			t.Errorf("Slot(%q) = %d, want %d", key, got, want)
		}
	}
}
