// Package statsdtest runs Prometheus' statsd_exporter, which the tests compare
// with.
package statsdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// limit is how long anything may take on a machine that is busy.
const limit = 60 * time.Second

// Exporter is a running statsd_exporter.
type Exporter struct {
	*redistest.Process

	TCP, UDP, HTTP string // addresses
}

// Start runs a statsd_exporter with a mapping (its text; "" for none) and further
// flags. It is ready when Start returns.
func Start(tb redistest.TB, mapping string, args ...string) *Exporter {
	tb.Helper()
	e := &Exporter{TCP: address(tb), HTTP: address(tb)}
	e.UDP = e.TCP
	args = append([]string{
		"--statsd.listen-tcp=" + e.TCP, "--statsd.listen-udp=" + e.UDP, "--web.listen-address=" + e.HTTP, "--statsd.event-flush-interval=10ms",
	}, args...)
	if mapping != "" {
		dir, err := os.MkdirTemp("", "statsd")
		if err != nil {
			tb.Fatalf("making a directory for the mapping: %v", err)
		}
		tb.Cleanup(func() { _ = os.RemoveAll(dir) })
		file := filepath.Join(dir, "mapping.yml")
		if err := os.WriteFile(file, []byte(mapping), 0o600); err != nil {
			tb.Fatalf("writing the mapping: %v", err)
		}
		args = append(args, "--statsd.mapping-config="+file)
	}
	e.Process = redistest.Run(tb, Binary(tb), args...)
	redistest.Eventually(tb, limit, "statsd_exporter to answer", func() error {
		select {
		case <-e.Done():
			tb.Fatalf("statsd_exporter has ended:\n%s", e.Output())
		default:
		}
		_, err := Get(e.HTTP, "/-/ready")
		return err
	})
	return e
}

func address(tb redistest.TB) string { return fmt.Sprintf("127.0.0.1:%d", redistest.Port(tb)) }

// Binary is the path of bin/statsd_exporter.
func Binary(tb redistest.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			path := filepath.Join(dir, "bin", "statsd_exporter")
			if _, err = os.Stat(path); err == nil {
				return path
			}
			break
		}
		if dir == filepath.Dir(dir) {
			err = errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	tb.Fatalf("this test needs bin/statsd_exporter: build it with `make test-tools` (`make test` does that, too): %v", err)
	return ""
}

// Get fetches a page.
func Get(address, path string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return string(body), err
}

// Send writes lines to a TCP address, in one connection.
func Send(tb redistest.TB, address string, lines []byte) {
	tb.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		tb.Fatalf("connecting: %v", err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.Copy(conn, bytes.NewReader(lines)); err != nil {
		tb.Fatalf("sending lines: %v", err)
	}
}

// last is a metric that no mapping of a test knows: once it is shown, what was
// sent before it on the same connection is, too.
const last = "the_last_line_of_all"

// Exposition sends lines to a TCP address and returns what of them show shows,
// in the text format, without the families of the exporter itself.
func Exposition(tb redistest.TB, tcp string, lines []byte, show func() (string, error)) string {
	tb.Helper()
	lines = append(bytes.TrimRight(lines, "\n"), ("\n" + last + ":1|g\n")...)
	Send(tb, tcp, lines)
	var out string
	redistest.Eventually(tb, limit, "the last line to be shown", func() error {
		text, err := show()
		if err == nil && !strings.Contains(text, "\n"+last+" 1") {
			err = errors.New("it is not")
		}
		out = text
		return err
	})
	return own(out)
}

// own leaves out the families that are the exporter's.
func own(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		foreign := strings.HasPrefix(name, last)
		for _, prefix := range []string{"go_", "process_", "promhttp_", "statsd_"} {
			foreign = foreign || strings.HasPrefix(name, prefix)
		}
		if !foreign {
			b.WriteString(line)
		}
	}
	return b.String()
}

// Metrics is what the exporter shows, in the text format.
func (e *Exporter) Metrics() (string, error) { return Get(e.HTTP, "/metrics") }
