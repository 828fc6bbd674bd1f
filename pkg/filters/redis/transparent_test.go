package redis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// The files of testdata/transparent are run on a server and, in the same order,
// through the filter on another one. With one shard every reply must be the
// same, byte for byte. A line is one of:
//
//	GET k            a request; the replies must be equal
//	~ TIME           only the kind of the reply is compared; why is said above it
//	> BLPOP q 0      a request whose reply is not read yet
//	<                a reply or message is read
//	blocked          waits until the server has blocked a client
//	raw "PING\r\n" 1 bytes, and how many frames are read
//	half             the client sends nothing more
//	eof              the server has closed the connection
//	dial             another connection
//	only 2           the file is for that protocol version
//
// "b: " before it makes it concern a second connection.
func TestTransparent(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/transparent/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := newTwins(t)
			for _, resp := range []string{"2", "3"} {
				p.run(resp, string(text))
			}
		})
	}
}

// twins are a server, and a filter in front of a server like it.
type twins struct {
	t     *testing.T
	nodes [2]*redistest.Node
	addrs [2]string
	conns map[string]*[2]*redistest.Client // by the connection's letter
	resp  string
}

func newTwins(t *testing.T) *twins {
	p := &twins{t: t}
	for i := range p.nodes {
		p.nodes[i] = redistest.Server(t, redistest.WithConfig("slowlog-log-slower-than -1", "enable-debug-command yes"))
		p.addrs[i] = p.nodes[i].Addr()
	}
	p.addrs[1] = start(t, defaults(), newCluster("main", p.nodes[1])).addr
	return p
}

func (p *twins) run(resp, script string) {
	p.t.Helper()
	p.resp = resp
	p.conns = map[string]*[2]*redistest.Client{}
	for _, n := range p.nodes {
		n.Do("FLUSHALL")
		n.Do("CONFIG", "RESETSTAT")
	}
	for i, line := range strings.Split(script, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if only, ok := strings.CutPrefix(line, "only "); ok && only != resp {
			return
		} else if ok {
			continue
		}
		who := "a"
		if rest, ok := strings.CutPrefix(line, "b: "); ok {
			who, line = "b", rest
		}
		if err := p.step(who, line); err != nil {
			p.t.Errorf("RESP%s, line %d: %s: %v", resp, i+1, line, err)
			if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
		}
	}
	for _, c := range p.conns {
		c[0].Close()
		c[1].Close()
	}
}

func (p *twins) step(who, line string) error {
	if p.conns[who] == nil || line == "dial" {
		p.dial(who)
	}
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "dial":
		return nil
	case ">":
		return p.send(who, redistest.Command(words(rest)...))
	case "<":
		return p.compare(who, 1, true)
	case "blocked":
		for _, n := range p.nodes {
			redistest.Eventually(p.t, 10*time.Second, "the client to be blocked", func() error {
				if got := n.Info("blocked_clients"); got == "0" {
					return errors.New("nobody is")
				}
				return nil
			})
		}
		return nil
	case "half":
		p.conns[who][0].CloseWrite()
		p.conns[who][1].CloseWrite()
		return nil
	case "eof":
		return p.eof(who)
	case "raw":
		args := words(rest)
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return errors.Join(p.send(who, args[0]), p.compare(who, n, true))
	case "~":
		return errors.Join(p.send(who, redistest.Command(words(rest)...)), p.compare(who, 1, false))
	default:
		return errors.Join(p.send(who, redistest.Command(words(line)...)), p.compare(who, 1, true))
	}
}

func (p *twins) dial(who string) {
	var pair [2]*redistest.Client
	for i, addr := range p.addrs {
		pair[i] = redistest.Dial(p.t, addr)
		if p.resp == "3" {
			pair[i].Do("HELLO", "3")
		}
	}
	p.conns[who] = &pair
}

func (p *twins) send(who, raw string) error {
	return errors.Join(p.conns[who][0].TrySend(raw), p.conns[who][1].TrySend(raw))
}

func (p *twins) compare(who string, frames int, exactly bool) error {
	for range frames {
		want, err := p.conns[who][0].TryReadFrame()
		if err != nil {
			return fmt.Errorf("server: %w", err)
		}
		got, err := p.conns[who][1].TryReadFrame()
		if err != nil {
			return fmt.Errorf("the server answers %q, the filter: %w", want, err)
		}
		if got == want || (!exactly && got[0] == want[0]) {
			continue
		}
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}

func (p *twins) eof(who string) error {
	for i, c := range p.conns[who] {
		if frame, err := c.TryReadFrame(); !errors.Is(err, io.EOF) || frame != "" {
			return fmt.Errorf("connection %d: got %q, %w; want its end", i, frame, err)
		}
	}
	return nil
}

// words splits a line as Redis splits an inline request.
func words(line string) []string {
	var cmd redisproto.Command
	b := []byte(line + "\r\n")
	limits := redisproto.DefaultLimits()
	if _, err := cmd.Parse(b, &limits); err != nil {
		return []string{line}
	}
	list := make([]string, len(cmd.Args))
	for i := range list {
		list[i] = string(bytes.Clone(cmd.Arg(b, i)))
	}
	return list
}

// A client that becomes a replica behind a WATCH leaves no connection of that.
func TestPipeBehindWatch(t *testing.T) {
	t.Parallel()
	f := start(t, defaults(), newCluster("main", servers(t, 1)...))
	c := f.dial()
	check(t, c, "WATCH k", "+OK", "REPLCONF listening-port 1", "+OK")
	c.Close()
	f.unpinned()
}
