package redis

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// TestEveryCommand calls every command that the server has with too few and too
// many arguments, and on keys of every type. With one shard the replies are the
// server's own.
func TestEveryCommand(t *testing.T) {
	t.Parallel()
	for _, resp := range []string{"2", "3"} {
		t.Run("RESP"+resp, func(t *testing.T) {
			t.Parallel()
			p := newTwins(t)
			p.resp, p.conns = resp, map[string]*[2]*redistest.Client{}
			names := bulks(t, p.nodes[0].Do("COMMAND", "LIST"))
			slices.Sort(names)
			scripted := scriptedCommands(t)
			calls := 0
			for _, name := range names {
				if notCalled(name) && !scripted[name] {
					t.Errorf("no script calls %s", name)
				}
				calls += p.everyWay(name)
			}
			if calls < 3000 {
				t.Errorf("only %d calls were made", calls)
			}
		})
	}
}

// scriptedCommands are those that the scripts of TestTransparent call.
func scriptedCommands(t *testing.T) map[string]bool {
	t.Helper()
	called := map[string]bool{}
	files, _ := filepath.Glob("testdata/transparent/*.txt")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(strings.ToLower(string(text))) {
			args := strings.Fields(strings.TrimLeft(strings.TrimPrefix(line, "b:"), " ~>"))
			if len(args) > 0 {
				called[args[0]] = true
			}
			if len(args) > 1 {
				called[args[0]+"|"+args[1]] = true
			}
		}
	}
	return called
}

// notCalled are commands that change or end the connection or the server, or
// answer at random; the scripts of TestTransparent have them.
func notCalled(name string) bool {
	container, _, _ := strings.Cut(name, "|")
	return slices.Contains([]string{
		"auth", "hello", "quit", "reset", "select", "multi", "exec", "discard", "watch", "unwatch",
		"subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe",
		"monitor", "sync", "psync", "replconf", "client", "shutdown", "replicaof", "slaveof", "failover",
		"debug", "save", "bgsave", "bgrewriteaof", "lastsave", "info", "time", "role", "lolwut", "wait",
		"acl", "config", "memory", "latency", "slowlog", "command", "module", "script", "function",
		"randomkey", "spop", "srandmember", "hrandfield", "zrandmember", "keys", "scan", "swapdb", "migrate",
		"pfselftest", "ping",
	}, container) || slices.Contains([]string{"object|idletime", "object|freq", "xinfo|consumers"}, name)
}

// keyTypes are requests that make a key of each type; there is none of "none".
func keyTypes() map[string][]string {
	return map[string][]string{
		"string": {"SET", "string", "10"},
		"text":   {"SET", "text", "some text"},
		"list":   {"RPUSH", "list", "1"},
		"hash":   {"HSET", "hash", "1", "1"},
		"set":    {"SADD", "set", "1"},
		"zset":   {"ZADD", "zset", "1", "1"},
		"stream": {"XADD", "stream", "1-1", "1", "1"},
		"none":   nil,
	}
}

// everyWay returns how many calls it made.
func (p *twins) everyWay(name string) int {
	p.t.Helper()
	args := strings.Split(name, "|")
	spec := redisproto.Lookup([]byte(args[0]))
	if spec == nil {
		p.t.Errorf("%s: not in the table", name)
		return 0
	}
	if len(args) == 2 {
		spec = spec.Subcommand([]byte(args[1]))
	} else if len(spec.Sub) > 0 {
		return 0
	}
	if spec == nil || notCalled(name) {
		return 0
	}
	least := spec.Arity
	if least < 0 {
		least = -least
	}
	calls := 0
	if least > len(args) {
		calls += p.call(args...)
	}
	if spec.Arity > 0 {
		calls += p.call(append(slices.Clone(args), slices.Repeat([]string{"1"}, least-len(args)+1)...)...)
	}
	for _, kind := range slices.Sorted(maps.Keys(keyTypes())) {
		if kind == "none" && spec.Has(redisproto.Blocking) {
			continue
		}
		for more := range 3 {
			if spec.Arity > 0 && more > 0 {
				break
			}
			calls += p.call(withKeys(args, spec, kind, least+more)...)
		}
	}
	return calls
}

// withKeys makes a request of n arguments: the key where there is one, else 1.
func withKeys(args []string, spec *redisproto.Spec, kind string, n int) []string {
	args = slices.Clone(args)
	for len(args) < max(n, spec.FirstKey+1) {
		arg := "1"
		if i := len(args); spec.FirstKey > 0 && i >= spec.FirstKey && (i == spec.FirstKey || i <= spec.LastKey) {
			arg = kind
		}
		args = append(args, arg)
	}
	return args
}

// call makes both servers fresh, and compares their replies to one request.
func (p *twins) call(args ...string) int {
	p.t.Helper()
	if p.conns["a"] == nil {
		p.dial("a")
	}
	var fresh strings.Builder
	fresh.WriteString(redistest.Command("FLUSHALL"))
	n := 1
	for _, kind := range slices.Sorted(maps.Keys(keyTypes())) {
		if create := keyTypes()[kind]; create != nil {
			fresh.WriteString(redistest.Command(create...))
			n++
		}
	}
	line := strings.Join(args, " ")
	if err := p.send("a", fresh.String()+redistest.Command(args...)); err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	if err := p.compare("a", n, true); err != nil {
		p.t.Fatalf("before %s: %v", line, err)
	}
	if err := p.compare("a", 1, !strings.EqualFold(args[0], "dump")); err != nil {
		p.t.Errorf("%s: %v", line, err)
	}
	return 1
}

// bulks are the elements of an array of strings.
func bulks(tb testing.TB, frame string) []string {
	tb.Helper()
	limits := redisproto.DefaultLimits()
	v, _, err := redisproto.ParseValue([]byte(frame), &limits)
	if err != nil || v.IsError() {
		tb.Fatalf("%q: %v", frame, err)
	}
	list := make([]string, len(v.Elems))
	for i := range v.Elems {
		if e := &v.Elems[i]; e.Kind == ':' {
			list[i] = fmt.Sprint(e.Int)
		} else {
			list[i] = string(e.Str)
		}
	}
	return list
}
