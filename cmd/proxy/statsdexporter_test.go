package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/internal/statsdtest"
)

func TestStatsdFlags(t *testing.T) {
	t.Parallel()
	good := write(t, "good.yml", "mappings:\n- match: a.*\n  name: a\n")
	bad := write(t, "bad.yml", "mappings:\n- match: a.*\n  name: a\n  colour: blue\n")
	cases := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "--statsd.mapping-config file"},
		{[]string{"--version"}, 0, "statsd_exporter, version 0.31.0"},
		{[]string{"--check-config", "--statsd.mapping-config=" + good}, 0, "Configuration check successful"},
		{[]string{"--check-config", "--statsd.mapping-config", good, "--no-statsd.parse-influxdb-tags", "--statsd.cache-type=random"}, 0, "successful"},
		{[]string{"--check-config", "--statsd.mapping-config=" + bad}, 64, "bad.yml:4: mappings[0].colour: there is no such key"},
		{[]string{"--check-config", "--statsd.mapping-config=" + written(t, "mappings:\n- match: a.*\n")}, 64, "name"},
		{[]string{"--check-config", "--statsd.mapping-config=" + written(t, "")}, 64, "a pipe into which nothing was written"},
		{[]string{"--check-config", "--statsd.mapping-config=/dev/null"}, 0, "successful"},
		{[]string{"--statsd.mapping-config=/nonexistent.yml"}, 64, "/nonexistent.yml"},
		{[]string{"--statsd.listen-udp=", "--statsd.listen-tcp="}, 64, "at least one of"},
		{[]string{"--statsd.listen-udp=9125"}, 64, "missing port"},
		{[]string{"--statsd.cache-type=fifo"}, 64, `want "lru" or "random"`},
		{[]string{"--statsd.event-flush-interval=often"}, 64, "invalid duration"},
		{[]string{"--statsd.unixsocket-mode=rwx"}, 64, "octal"},
		{[]string{"--log.level=loud"}, 64, "debug, info, warn or error"},
		{[]string{"--web.telemetry-path=metrics"}, 64, "begin with a slash"},
		{[]string{"--web.telemetry-path="}, 64, "begin with a slash"},
		{[]string{"--web.telemetry-path=/-/ready"}, 64, "/-/ready is another page"},
		{[]string{"--web.telemetry-path=/m{"}, 64, "must be a plain path"},
		{[]string{"--web.telemetry-path=//m"}, 64, "must be a plain path"},
		{[]string{"--web.telemetry-path=//"}, 64, "must be a plain path"},
		{[]string{"--statsd.listen"}, 64, "unknown flag"},
		{[]string{"metrics"}, 64, `unexpected "metrics"`},
	}
	for _, tc := range cases {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			t.Parallel()
			code, out, errs := finish(t, nil, append([]string{"statsd-exporter"}, tc.args...)...)
			if code != tc.code || !strings.Contains(out+errs, tc.want) {
				t.Errorf("exit code %d, want %d with %q in\n%s%s", code, tc.code, tc.want, out, errs)
			}
		})
	}
}

// written is a pipe with a text and its end, as a shell's <(command).
func written(t *testing.T, text string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // it was read by another descriptor
	_, err = w.WriteString(text)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.Fd())
}

// TestStatsdMappingFromAPipe: it is read once, and a SIGHUP later leaves it.
func TestStatsdMappingFromAPipe(t *testing.T) {
	t.Parallel()
	p := beginStatsd(t, "--statsd.mapping-config="+written(t, "mappings:\n- match: a.*\n  name: piped\n  labels: {of: $1}\n"))
	statsdtest.Send(t, p.lines, []byte("a.b:1|c\n"))
	p.shows(`piped{of="b"} 1`)
	p.signal(syscall.SIGHUP)
	p.prints("can be read only once")
	statsdtest.Send(t, p.lines, []byte("a.b:1|c\n"))
	p.shows(`piped{of="b"} 2`)
}

// statsdProcess is `proxy statsd-exporter` on ports of its own.
type statsdProcess struct {
	*process
	lines, http string
}

func beginStatsd(t *testing.T, args ...string) *statsdProcess {
	t.Helper()
	p := &statsdProcess{lines: fmt.Sprintf("127.0.0.1:%d", redistest.Port(t)), http: fmt.Sprintf("127.0.0.1:%d", redistest.Port(t))}
	p.process = begin(t, nil, append([]string{
		"statsd-exporter", "--statsd.listen-udp=" + p.lines, "--statsd.listen-tcp=" + p.lines, "--web.listen-address=" + p.http,
	}, args...)...)
	p.prints("Accepting Prometheus Requests")
	return p
}

func (p *statsdProcess) metrics() (string, error) { return statsdtest.Get(p.http, "/metrics") }

// shows waits until a line is in the exposition.
func (p *statsdProcess) shows(line string) {
	p.t.Helper()
	redistest.Eventually(p.t, limit, line, func() error {
		text, err := p.metrics()
		if err == nil && !strings.Contains(text, "\n"+line+"\n") {
			err = errors.New(text)
		}
		return err
	})
}

// TestStatsdExporter: the program and the one that it takes the place of, with
// the same flags, show the same.
func TestStatsdExporter(t *testing.T) {
	t.Parallel()
	mapping := "mappings:\n- {match: 'a.*', name: a, labels: {kind: '$1'}}\n- {match: 'h.*', name: h, observer_type: histogram, labels: {kind: '$1'}}\n"
	file := write(t, "mapping.yml", mapping)
	flags := []string{"--no-statsd.parse-librato-tags", "--statsd.cache-size=0", "--statsd.event-queue-size=100"}
	theirs := statsdtest.Start(t, mapping, flags...)
	ours := beginStatsd(t, append(flags, "--statsd.mapping-config="+file)...)
	ours.prints("flag=--statsd.cache-size")
	lines := []byte("a.b:1|c\na.b:2|c|@0.5\na.c#x=y:1|c\nb,x=y:3|g\nh.x:20|ms:30|ms\nt:20|ms\nwrong\nwrong:1|z\na.b:5|g\n")
	want := statsdtest.Exposition(t, theirs.TCP, lines, theirs.Metrics)
	got := statsdtest.Exposition(t, ours.lines, lines, ours.metrics)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exposition (-statsd_exporter +got):\n%s", diff)
	}
	all := func(text string, err error) map[string]bool {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "# TYPE statsd_"); ok {
				names[rest] = true
			}
		}
		return names
	}
	have := all(ours.metrics())
	for name := range all(theirs.Metrics()) {
		// Of its own cache and queue there is nothing to say here.
		if !have[name] && !strings.Contains(name, "cache") && !strings.Contains(name, "queue") {
			t.Errorf("there is no statsd_%s", name)
		}
	}
	ours.shows(`statsd_exporter_events_conflict_total{metric_name="a",type="gauge"} 1`)
	ours.shows(`statsd_exporter_sample_errors_total{reason="illegal_event"} 1`)
	ours.shows(`statsd_exporter_sample_errors_total{reason="malformed_line"} 1`)
	ours.signal(syscall.SIGTERM)
	if code := ours.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func request(t *testing.T, method, url string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := nettest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestStatsdLifecycle: the mapping is read again on SIGHUP and on request, a bad
// one changes nothing, and /-/quit ends the process.
func TestStatsdLifecycle(t *testing.T) {
	t.Parallel()
	file := write(t, "mapping.yml", "mappings: [{match: 'a.*', name: one}]")
	p := beginStatsd(t, "--statsd.mapping-config="+file, "--web.enable-lifecycle", "--web.telemetry-path=/m")
	for path, want := range map[string]int{"/": 200, "/m": 200, "/-/healthy": 200, "/-/ready": 200, "/metrics": 404, "/-/reload": 405} {
		if got := request(t, http.MethodGet, "http://"+p.http+path); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	filetest.Put(t, file, "mappings: [{match: 'a.*'}]")
	p.signal(syscall.SIGHUP)
	p.prints("the mapping stays as it was")
	filetest.Put(t, file, "mappings: [{match: 'a.*', name: three}, {match: b, name: c}]")
	if got := request(t, http.MethodPost, "http://"+p.http+"/-/reload"); got != 200 {
		t.Errorf("reload: status %d", got)
	}
	p.prints("new mapping.*rules=2")
	if got := request(t, http.MethodPut, "http://"+p.http+"/-/quit"); got != 200 {
		t.Errorf("quit: status %d", got)
	}
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStatsdRelay: every line is sent on as it came.
func TestStatsdRelay(t *testing.T) {
	t.Parallel()
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	path := filepath.Join(t.TempDir(), "s")
	p := beginStatsd(t, "--statsd.relay.address="+target.LocalAddr().String(), "--statsd.relay.packet-length=40", "--statsd.listen-unixgram="+path, "--statsd.unixsocket-mode=700")
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := []string{"a:1|c", "not understood", "b:2|c|#k:v", "c:3|g", "d:4|ms"}
	if _, err := io.WriteString(conn, strings.Join(lines, "\n")+"\n"+strings.Repeat("x", 50)+":1|c\n"); err != nil {
		t.Fatal(err)
	}
	var got string
	buf := make([]byte, 100)
	for strings.Count(got, "\n") < len(lines) {
		n, _, err := target.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if n > 40 {
			t.Errorf("a datagram of %d bytes", n)
		}
		got += string(buf[:n])
	}
	if diff := cmp.Diff(strings.Join(lines, "\n")+"\n", got); diff != "" {
		t.Errorf("sent on (-want +got):\n%s", diff)
	}
	labels := fmt.Sprintf(`{target=%q} `, target.LocalAddr())
	p.shows("statsd_exporter_relay_lines_relayed_total" + labels + "5")
	p.shows("statsd_exporter_relay_long_lines_total" + labels + "1")
}

// TestStatsdDocumentSockets: a document says who may write to a socket, and where
// lines go besides.
func TestStatsdDocumentSockets(t *testing.T) {
	t.Parallel()
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	path, web := filepath.Join(t.TempDir(), "s"), redistest.Port(t)
	file := write(t, "mesh.yaml", fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: app}
spec:
  metrics:
    listen: {port: %d}
    sources: [{name: app, statsd: {unixgram: %s, unixgramMode: "0606", relay: {address: %q, packetLength: 20}}}]
`, web, path, target.LocalAddr()))
	p := &statsdProcess{http: fmt.Sprintf("127.0.0.1:%d", web)}
	p.process = begin(t, []string{"DRAGOMAN_ADMIN_ADDRESS=off"}, "run", "-f", file)
	redistest.Eventually(t, limit, "the adapter to answer", func() error {
		_, err := p.metrics()
		return err
	})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o606 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "a:1|c\n"+strings.Repeat("x", 20)+":1|c\n"); err != nil {
		t.Fatal(err)
	}
	p.shows("a 1")
	p.shows(`adapter_source_dropped_total{reason="not_relayed",source="app"} 1`)
	buf := make([]byte, 100)
	if n, _, err := target.ReadFrom(buf); err != nil || string(buf[:n]) != "a:1|c\n" {
		t.Errorf("sent on: %q, %v", buf[:n], err)
	}
}

// TestStatsdDocument: the same lines by a document.
func TestStatsdDocument(t *testing.T) {
	t.Parallel()
	udp, web := redistest.Port(t), redistest.Port(t)
	document := func(mapping string) string {
		return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: app}
spec:
  metrics:
    listen: {port: %d}
    sources:
    - name: app
      statsd:
        tcp: %d
        udp: %d
        mapping: |
          mappings: [%s]
`, web, udp, udp, mapping)
	}
	file := write(t, "mesh.yaml", document("{match: 'a.*', name: a, labels: {kind: '$1'}}"))
	p := &statsdProcess{lines: fmt.Sprintf("127.0.0.1:%d", udp), http: fmt.Sprintf("127.0.0.1:%d", web)}
	p.process = begin(t, []string{"DRAGOMAN_ADMIN_ADDRESS=off"}, "run", "-f", file)
	redistest.Eventually(t, limit, "the adapter to answer", func() error {
		_, err := p.metrics()
		return err
	})
	statsdtest.Send(t, p.lines, []byte("a.x:1|c\nb:1|c\nu:me|s\n"))
	p.shows(`a{kind="x"} 1`)
	p.shows("u 1")
	filetest.Put(t, file, document("{match: 'a.*', name: a, labels: {kind: '$1'}}, {match: b, name: d}"))
	p.signal(syscall.SIGHUP)
	redistest.Eventually(t, limit, "the new mapping", func() error {
		conn, err := net.Dial("udp", p.lines)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "b:0|c"); err != nil {
			return err
		}
		text, err := p.metrics()
		if err == nil && !strings.Contains(text, "\nd 0\n") {
			err = errors.New(text)
		}
		return err
	})
	p.shows(`a{kind="x"} 1`) // it was counted before the change
}
