package e2e

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// twins are one server that is spoken to directly, and one behind a proxy: whatever is said to both must be answered alike.
type twins struct{ direct, proxied string }

func startTwins(t *testing.T) twins {
	t.Helper()
	m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{redistest.Server(t)}), redis: "opTimeout: 60s"} // PFSELFTEST is a long test
	startProxy(t, m.YAML())
	return twins{direct: redistest.Server(t).Addr(), proxied: m.Addr()}
}

// TestTransparent plays each script of testdata/transparent at both twins and compares the replies, byte for byte: command by command in
// RESP2 and in RESP3, and the whole script as one pipeline.
func TestTransparent(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/transparent/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			commands := readScript(t, file)
			pair := startTwins(t)
			for _, mode := range []string{"resp2", "resp3", "pipeline"} {
				want, got := play(t, pair.direct, mode, commands), play(t, pair.proxied, mode, commands)
				for i, c := range commands {
					if got[i] != want[i] {
						t.Errorf("%s: %.100q:\n got %.300q\nwant %.300q", mode, c, got[i], want[i])
					}
				}
			}
		})
	}
}

// play empties the server, runs the commands on one connection and returns their replies.
func play(t *testing.T, addr, mode string, commands [][]string) []string {
	t.Helper()
	c := redistest.Dial(t, addr)
	defer c.Close()
	for _, reset := range []string{"FLUSHALL", "FUNCTION FLUSH", "SCRIPT FLUSH"} {
		if got := c.Do(strings.Fields(reset)...); got != "+OK\r\n" {
			t.Fatalf("%s: %q", reset, got)
		}
	}
	if mode == "resp3" {
		c.Do("HELLO", "3")
	}
	replies := make([]string, 0, len(commands))
	if mode != "pipeline" {
		for _, command := range commands {
			replies = append(replies, c.Do(command...))
		}
		return replies
	}
	var all strings.Builder
	for _, command := range commands {
		all.WriteString(redistest.Command(command...))
	}
	c.Send(all.String())
	for range commands {
		replies = append(replies, c.ReadFrame())
	}
	return replies
}

// readScript reads one command per line, its arguments separated by spaces and quoted where they contain some; # begins a comment line.
func readScript(t *testing.T, file string) [][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := csv.NewReader(strings.NewReader(string(data)))
	r.Comma, r.Comment, r.FieldsPerRecord = ' ', '#', -1
	commands, err := r.ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return commands
}

// notCompared are commands whose answer is never the same twice, or that end or take over the server.
var notCompared = []string{
	"bgrewriteaof", "bgsave", "command", "debug", "failover", "hello", "info", "lastsave", "lolwut", "monitor", "pfdebug", "psync", "quit",
	"randomkey", "replconf", "replicaof", "role", "save", "shutdown", "slaveof", "sync", "time", "restore-asking",
}

// TestEveryCommandWithBadArguments sends every command that the server has, with arguments that fit none, on a connection each.
func TestEveryCommandWithBadArguments(t *testing.T) {
	t.Parallel()
	pair := startTwins(t)
	shapes := [][]string{nil, {"key"}, {"key", "a"}, {"key", "a", "b"}, {"0", "key", "1"}, {"key", "1", "-1", "x"}}
	for _, name := range commandNames(t, pair.direct) {
		if slices.Contains(notCompared, name) {
			continue
		}
		for _, shape := range shapes {
			command := append([]string{name}, shape...)
			want, got := once(t, pair.direct, command), once(t, pair.proxied, command)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q (-direct +proxied):\n%s", command, diff)
			}
		}
	}
}

// once resets the key to a string, sends one command on a connection of its own and returns the reply.
func once(t *testing.T, addr string, command []string) string {
	t.Helper()
	c := redistest.Dial(t, addr)
	defer c.Close()
	c.Do("SET", "key", "value")
	return c.Do(command...)
}

func commandNames(t *testing.T, addr string) []string {
	t.Helper()
	c := redistest.Dial(t, addr)
	defer c.Close()
	var names []string
	for i, line := range strings.Split(c.Do("COMMAND", "LIST"), "\r\n") {
		if i > 0 && i%2 == 0 && line != "" {
			names = append(names, line)
		}
	}
	if len(names) < 200 {
		t.Fatalf("COMMAND LIST has only %d names", len(names))
	}
	slices.Sort(names)
	return names
}

// TestTransparentToBytes pins what is below commands: fragments, inline commands, protocol errors, large values.
func TestTransparentToBytes(t *testing.T) {
	t.Parallel()
	pair := startTwins(t)
	big := strings.Repeat("x", 3<<20)
	tests := []struct {
		name  string
		sends []string
		want  int // frames
	}{
		{"inline", []string{"PING\r\n", "SET a 1\r\nGET a\r\n", "get \"a\"\n", "\r\n\r\nECHO 'x y'\r\n"}, 5},
		{"byte by byte", strings.Split(redistest.Command("SET", "k", "v\r\n*1\r\n")+redistest.Command("GET", "k"), ""), 2},
		{"binary key", []string{redistest.Command("SET", "\x00\xff\r\n", "\x00"), redistest.Command("GET", "\x00\xff\r\n")}, 2},
		{"empty key and value", []string{redistest.Command("SET", "", ""), redistest.Command("GET", ""), redistest.Command("STRLEN", "")}, 3},
		{"large value", []string{redistest.Command("SET", "big", big), redistest.Command("GET", "big"), redistest.Command("STRLEN", "big")}, 3},
		{"empty arrays", []string{"*0\r\n*-1\r\n", redistest.Command("PING")}, 1},
		{"bad multibulk length", []string{"*x\r\n"}, 1},
		{"too many arguments", []string{"*2147483648\r\n"}, 1},
		{"bad bulk length", []string{"*1\r\n$-5\r\n"}, 1},
		{"too long a bulk", []string{"*2\r\n$3\r\nGET\r\n$536870913\r\n"}, 1},
		{"no bulk", []string{"*1\r\n:1\r\n"}, 1},
		{"unbalanced quotes", []string{"GET \"a\r\n"}, 1},
		{"unknown command", []string{redistest.Command("NOSUCH", "a", "b"), redistest.Command("PING")}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var frames [2][]string
			for i, addr := range []string{pair.direct, pair.proxied} {
				c := redistest.Dial(t, addr)
				for _, s := range tt.sends {
					c.Send(s)
				}
				for range tt.want {
					frames[i] = append(frames[i], c.ReadFrame())
				}
			}
			if diff := cmp.Diff(frames[0], frames[1]); len(diff) > 2000 {
				t.Errorf("replies differ: %s", fmt.Sprint(diff[:2000]))
			} else if diff != "" {
				t.Errorf("replies (-direct +proxied):\n%s", diff)
			}
		})
	}
}
