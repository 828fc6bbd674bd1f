package graphite_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/graphite"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const mappingText = `
mappings:
- match: servers.*.cpu.*
  name: server_cpu_${2}_ratio
  help: Share of a CPU.
  scale: 0.01
  labels: {server: $1}
- match: debug.*
  name: dropped
  action: drop
`

func open(t *testing.T, cfg resource.GraphiteSource, env metrics.Env) *graphite.Source {
	t.Helper()
	if env.Sockets == nil {
		env.Sockets = sockets.NewPool()
	}
	s, err := graphite.New(&cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// send writes lines to a socket.
func send(t *testing.T, network, address string, packets ...string) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, p := range packets {
		if _, err := c.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
}

// eventually waits until a source shows just this.
func eventually(t *testing.T, s *graphite.Source, want string) {
	t.Helper()
	redistest.Eventually(t, time.Minute, "series", func() error {
		list, err := s.Gather(t.Context())
		if err != nil {
			return err
		}
		var got strings.Builder
		for line := range strings.Lines(tooltest.Text(t, list)) {
			if !strings.HasPrefix(line, "# TYPE") {
				got.WriteString(line)
			}
		}
		if diff := cmp.Diff(want, got.String()); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
}

// TestAllSockets: lines arrive over each, the latest value stays, and a mapping
// names them.
func TestAllSockets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s := open(t, resource.GraphiteSource{
		MetricsListen: resource.MetricsListen{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Unixgram: path},
		Mapping:       resource.MetricsMapping{Text: mappingText},
	}, metrics.Env{})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	addrs := s.Addrs()
	send(t, "udp", addrs[0].String(), "servers.web1.cpu.user 12.5 1700000000\nservers.web2.cpu.user 50 -1\n")
	eventually(t, s, `# HELP server_cpu_user_ratio Share of a CPU.
server_cpu_user_ratio{server="web1"} 0.125
server_cpu_user_ratio{server="web2"} 0.5
`) // before what comes another way changes it
	send(t, "unixgram", path, "app.jobs-done;team=a b=c 1 1\napp.jobs-done;team=shop;site=n 7")
	send(t, "tcp", addrs[2].String(), "queue:de", "pth 3 17000", "00000\r\nservers.web1.cpu.us", "er 25 1700000001\ndebug.x 1 1\nlast 4 1")
	eventually(t, s, `# HELP app_jobs_done Graphite metric app_jobs_done
app_jobs_done{site="n",team="shop"} 7
# HELP last Graphite metric last
last 4
# HELP queue:depth Graphite metric queue:depth
queue:depth 3
# HELP server_cpu_user_ratio Share of a CPU.
server_cpu_user_ratio{server="web1"} 0.25
server_cpu_user_ratio{server="web2"} 0.5
`)
	if diff := cmp.Diff(map[string]uint64{"malformed": 1}, s.Losses()); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
}

// TestSeriesAreBounded: those beyond the limit are counted, and the others go on.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t, resource.GraphiteSource{MetricsListen: resource.MetricsListen{TCP: "127.0.0.1:0"}}, metrics.Env{MaxSeries: 2})
	defer s.Close()
	send(t, "tcp", s.Addrs()[0].String(), "a 1 1\nb 2 1\nc 3 1\n"+strings.Repeat("x", 100_000)+"\na 4 1\nz 1 1\n")
	redistest.Eventually(t, time.Minute, "losses", func() error {
		if diff := cmp.Diff(map[string]uint64{"malformed": 1, "series_limit": 2}, s.Losses()); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	eventually(t, s, "# HELP a Graphite metric a\na 4\n# HELP b Graphite metric b\nb 2\n")
}

// TestSuccessor: what a source has goes to the one that gets its socket.
func TestSuccessor(t *testing.T) {
	t.Parallel()
	env := metrics.Env{Sockets: sockets.NewPool()}
	cfg := resource.GraphiteSource{MetricsListen: resource.MetricsListen{TCP: tooltest.FreeAddress(t)}}
	first := open(t, cfg, env)
	send(t, "tcp", cfg.TCP, "a 1 1\n")
	eventually(t, first, "# HELP a Graphite metric a\na 1\n")
	second := open(t, cfg, env)
	defer second.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	send(t, "tcp", cfg.TCP, "b 2 1\n")
	eventually(t, second, "# HELP a Graphite metric a\na 1\n# HELP b Graphite metric b\nb 2\n")
}

// TestSeriesAreForgotten after their time.
func TestSeriesAreForgotten(t *testing.T) {
	t.Parallel()
	s := open(t, resource.GraphiteSource{MetricsListen: resource.MetricsListen{TCP: "127.0.0.1:0", TTL: 200 * time.Millisecond}}, metrics.Env{})
	defer s.Close()
	send(t, "tcp", s.Addrs()[0].String(), "a 1 1\nbad\n")
	redistest.Eventually(t, time.Minute, "arrival", func() error {
		if s.Losses()["malformed"] == 0 { // it came after a
			return errors.New("nothing has arrived")
		}
		return nil
	})
	eventually(t, s, "")
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]resource.MetricsMapping{
		"bad":     {Text: "mappings: [{match: a.*, labels: {0: x}}]"},
		"no file": {File: filepath.Join(t.TempDir(), "missing")},
	} {
		cfg := resource.GraphiteSource{MetricsListen: resource.MetricsListen{TCP: "127.0.0.1:0"}, Mapping: m}
		if s, err := graphite.New(&cfg, metrics.Env{Sockets: sockets.NewPool()}); err == nil {
			t.Errorf("%s is taken", name)
			_ = s.Close()
		}
	}
}

// FuzzParse: a line that is taken is the same again after it was written.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"a.b 1 1700000000", "a;b=c;d= NaN N", "a 1e400 1", "; 1 1", "a -0 0.5"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := graphite.Parse(text)
		if err != nil {
			if !errors.Is(err, graphite.ErrLine) {
				t.Errorf("error %v", err)
			}
			return
		}
		second, err := graphite.Parse(string(first.Append(nil)))
		if err != nil || fmt.Sprint(first) != fmt.Sprint(second) {
			t.Errorf("%+v, then %+v, %v", first, second, err)
		}
	})
}

// TestMappingFileChanges: a mapping that is written anew holds for the lines that come
// then; one that is wrong is told, with its line, and leaves the mapping as it was.
func TestMappingFileChanges(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mapping.yml")
	write := func(text string) { filetest.Put(t, file, text) }
	write("mappings: [{match: 'a.*', name: one}]")
	s := open(t, resource.GraphiteSource{MetricsListen: resource.MetricsListen{UDP: "127.0.0.1:0"}, Mapping: resource.MetricsMapping{File: file}}, metrics.Env{})
	defer s.Close()
	line := func(path string) { send(t, "udp", s.Addrs()[0].String(), path+" 1\n") }
	line("a.x")
	const one, two = "# HELP one Graphite metric one\none 1\n", "# HELP two Graphite metric two\ntwo 1\n"
	eventually(t, s, one)
	write("mappings: [{match: 'a.*', nam: two}]")
	for range 2 {
		if list, err := s.Gather(t.Context()); err == nil || !strings.Contains(err.Error(), "mapping.yml:1: mappings[0].nam: ") || len(list) != 1 {
			t.Fatalf("a mapping that is wrong: %v, %v", list, err)
		}
	}
	write("mappings: [{match: 'a.*', name: two}]")
	eventually(t, s, one)
	line("a.x")
	eventually(t, s, one+two)
}
