package statsd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd"
	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// patience is how long a slow machine may take.
const patience = 60 * time.Second

func dial(t *testing.T, s *statsd.Source, i int) net.Conn {
	t.Helper()
	addr := s.Leases()[i].Addr()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until the source shows the line.
func eventually(t *testing.T, s *statsd.Source, line string) {
	t.Helper()
	redistest.Eventually(t, patience, line, func() error {
		if got := text(t, s); !strings.Contains("\n"+got, "\n"+line+"\n") {
			return fmt.Errorf("shown is:\n%s", got)
		}
		return nil
	})
}

func TestSockets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s := open(t, statsd.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Unixgram: path, UnixgramMode: 0o600, ReadBuffer: 1 << 20})
	for i, name := range []string{"udp", "tcp", "unixgram"} {
		c := dial(t, s, i)
		send(t, c, name+":1|c\n"+name+":2|c\r\n")
		send(t, c, name+":4|c\n")
		eventually(t, s, name+" 7")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	st := s.Stats()
	if st.Datagrams != 2 || st.UnixDatagrams != 2 || st.Connections != 1 || st.Lines != 9 {
		t.Errorf("stats %+v", st)
	}
}

// TestPieces: how a line is cut up on its way does not matter, nor who else
// sends at the same time.
func TestPieces(t *testing.T) {
	t.Parallel()
	s := open(t, statsd.Config{TCP: "127.0.0.1:0"})
	slow, fast := dial(t, s, 0), dial(t, s, 0)
	lines := "slow:1|c\nslow:2|c|#k:v\r\n\nslow:3|c"
	for i := range len(lines) {
		send(t, slow, lines[i:i+1])
		send(t, fast, "fast:1|c\n")
		eventually(t, s, fmt.Sprintf("fast %d", i+1))
	}
	eventually(t, s, "slow 1")
	if err := slow.Close(); err != nil { // which ends the last line
		t.Fatal(err)
	}
	eventually(t, s, "slow 4")
	eventually(t, s, `slow{k="v"} 2`)
	send(t, fast, strings.Repeat("many:1|c\n", 100_000))
	eventually(t, s, "many 100000")
}

// TestLongLines: a line that is too long is lost, and not the connection.
func TestLongLines(t *testing.T) {
	t.Parallel()
	s := open(t, statsd.Config{TCP: "127.0.0.1:0", Options: statsd.Options{MaxLine: 1000}})
	c := dial(t, s, 0)
	for _, long := range []int{1001, 5000, 1_000_000} {
		send(t, c, strings.Repeat("x", long-4)+":1|c\na:1|c\n")
	}
	send(t, c, strings.Repeat("y", 996)+":1|c\na:1|c\n")
	eventually(t, s, "a 4")
	if n := s.Losses()["line_too_long"]; n != 3 {
		t.Errorf("%d lines were too long, want 3", n)
	}
}

func TestConnectionLimit(t *testing.T) {
	t.Parallel()
	s := open(t, statsd.Config{TCP: "127.0.0.1:0", MaxConnections: 2})
	first, second := dial(t, s, 0), dial(t, s, 0)
	send(t, first, "a:1|c\n")
	send(t, second, "a:1|c\n")
	eventually(t, s, "a 2")
	third := dial(t, s, 0)
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("the third connection stays")
	}
	if n := s.Losses()["connection_limit"]; n != 1 {
		t.Errorf("%d connections were refused", n)
	}
	_ = first.Close()
	redistest.Eventually(t, patience, "room for another one", func() error {
		send(t, dial(t, s, 0), "b:1|g\n")
		if !strings.Contains(text(t, s), "\nb 1") {
			return errors.New("not yet")
		}
		return nil
	})
}

func TestIdleConnection(t *testing.T) {
	t.Parallel()
	s := open(t, statsd.Config{TCP: "127.0.0.1:0", IdleTimeout: 50 * time.Millisecond})
	c := dial(t, s, 0)
	send(t, c, "a:1|c\nb:1|c")
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	eventually(t, s, "b 1")
}

// TestFlood: of a million datagrams each one was taken, or is counted among
// those that the kernel dropped.
func TestFlood(t *testing.T) {
	t.Parallel()
	s := open(t, statsd.Config{UDP: "127.0.0.1:0"})
	c := dial(t, s, 0)
	const sent = 1_000_000
	for range sent {
		send(t, c, "a:1|c")
	}
	redistest.Eventually(t, patience, "every datagram to be accounted for", func() error {
		if st := s.Stats(); st.Datagrams+st.KernelDrops != sent {
			return fmt.Errorf("%d arrived and %d were dropped of %d", st.Datagrams, st.KernelDrops, sent)
		}
		return nil
	})
	st := s.Stats()
	eventually(t, s, fmt.Sprintf("a %v", float64(st.Datagrams)))
	if st.KernelDrops != s.Losses()["kernel"] {
		t.Errorf("losses %v", s.Losses())
	}
}

// TestSuccessor: a source that replaces another one goes on with its series, and
// loses nothing that was sent in between.
func TestSuccessor(t *testing.T) {
	t.Parallel()
	pool := sockets.NewPool()
	path := filepath.Join(t.TempDir(), "s")
	config := statsd.Config{Unixgram: path, TCP: "127.0.0.1:" + fmt.Sprint(redistest.Port(t))}
	make1 := func(mappingText string) *statsd.Source {
		c := config
		c.Options.Mapping = parseMapping(t, mappingText)
		s, err := statsd.Open(c, metrics.Env{Sockets: pool})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	source := make1("")
	sender := dial(t, source, 1)
	const rounds, each = 5, 500
	for round := range rounds {
		stop := make(chan struct{})
		go func() {
			defer close(stop)
			for range each {
				_, _ = sender.Write([]byte("a:1|c\nb.x:1|c")) // the sum tells
			}
		}()
		families, err := source.Gather(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next := make1(fmt.Sprintf("mappings: [{match: 'b.*', name: b_%d}]", round))
		if err := source.Close(); err != nil {
			t.Fatal(err)
		}
		if out := fmt.Sprint(families); out == "" { // they are still somebody's to read
			t.Error("nothing was shown")
		}
		source = next
		<-stop
	}
	eventually(t, source, fmt.Sprintf("a %d", rounds*each))
	send(t, sender, "b.x:1|c")
	redistest.Eventually(t, patience, "the last mapping", func() error {
		if got := text(t, source); strings.Contains(got, "b_3") || !strings.Contains(got, "\nb_4 ") {
			return errors.New(got)
		}
		return nil
	})
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestMappingFileChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mapping.yml")
	write := func(text string) { filetest.Put(t, file, text) }
	write("mappings: [{match: 'a.*', name: one}]")
	s := open(t, statsd.Config{TCP: "127.0.0.1:0", MappingFile: file})
	c := dial(t, s, 0)
	send(t, c, "a.b:1|c\n")
	eventually(t, s, "one 1")
	write("mappings: [{match: 'a.*', name: two, and: more}]")
	if _, err := s.Gather(t.Context()); err == nil || !strings.Contains(err.Error(), `mapping.yml:1: mappings[0].and: there is no such key`) {
		t.Errorf("a mapping that is wrong: %v", err)
	}
	if families, _ := s.Gather(t.Context()); len(families) != 1 || families[0].GetName() != "one" {
		t.Errorf("what was there before: %v", families)
	}
	write("mappings: [{match: 'a.*', name: three}]\n")
	send(t, c, "a.b:1|c\n")
	redistest.Eventually(t, patience, "the new mapping", func() error {
		send(t, c, "a.b:0|c\n")
		if got := text(t, s); !strings.Contains(got, "\nthree ") {
			return errors.New(got)
		}
		return nil
	})
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for want, c := range map[string]statsd.Config{
		"address already in use": {UDP: "127.0.0.1:0", TCP: taken.Addr().String()},
		"no such file":           {UDP: "127.0.0.1:0", MappingFile: "/nowhere/mapping.yml"},
	} {
		if _, err := statsd.Open(c, metrics.Env{Sockets: sockets.NewPool()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestTee: whoever wants the lines gets each of them.
func TestTee(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	done := make(chan struct{})
	s := open(t, statsd.Config{TCP: "127.0.0.1:0", Options: statsd.Options{Tee: func(line []byte) {
		if string(line) == "end" {
			close(done)
			return
		}
		got.WriteString(string(line) + "\n")
	}}})
	send(t, dial(t, s, 0), "a:1|c\nnonsense\r\n\na:2|c\nend\n")
	<-done
	if diff := cmp.Diff("a:1|c\nnonsense\na:2|c\n", got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestResource: what a document says of dialects and connections holds.
func TestResource(t *testing.T) {
	t.Parallel()
	s, err := statsd.New(&resource.StatsDSource{
		MetricsListen: resource.MetricsListen{TCP: "127.0.0.1:0"}, Styles: statsdproto.Librato, MaxConnections: 1, IdleTimeout: 50 * time.Millisecond,
	}, metrics.Env{Sockets: sockets.NewPool()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first := dial(t, s, 0)
	send(t, first, "a#k=v:1|c\nb,k=v:1|c\n")
	eventually(t, s, `a{k="v"} 1`)
	eventually(t, s, "b_k_v 1") // no tag of this dialect: a part of the name
	if _, err := io.Copy(io.Discard, first); err != nil {
		t.Fatalf("an idle connection is not closed: %v", err)
	}
	redistest.Eventually(t, patience, "a connection that is refused beside another", func() error {
		held, refused := dial(t, s, 0), dial(t, s, 0)
		defer held.Close()
		defer refused.Close()
		send(t, held, "c:1|c\n")
		if _, err := refused.Read(make([]byte, 1)); err == nil {
			return errors.New("it says something")
		}
		if s.Losses()["connection_limit"] == 0 {
			return errors.New("none was refused")
		}
		return nil
	})
}
