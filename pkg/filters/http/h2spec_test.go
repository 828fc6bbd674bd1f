package http_test

import (
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// specReport is what h2spec writes with --junit-report.
type specReport struct {
	Suites []struct {
		Cases []struct {
			Section string   `xml:"package,attr"`
			Name    string   `xml:"classname,attr"`
			Failure *outcome `xml:"failure"`
			Skipped *outcome `xml:"skipped"`
			Error   *outcome `xml:"error"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

type outcome struct {
	Text string `xml:",chardata"`
}

// specCases is how many h2spec 2.2.1 has with --strict, so that none is left out.
const specCases = 146

// TestH2Spec runs the whole of h2spec against listeners that speak HTTP/2.
func TestH2Spec(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		engine engine
		codec  resource.HTTPCodec
		secure bool
	}{
		"HTTP/2 alone":                          {goroutines, resource.HTTPTwo, false},
		"either version":                        {goroutines, resource.HTTPAuto, false},
		"either version, from an event loop":    {loops, resource.HTTPAuto, false},
		"either version, agreed on beneath TLS": {goroutines, resource.HTTPAuto, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var cfg *tls.Config
			args := []string{}
			if tt.secure {
				cfg = redistest.NewPKI(t).ServerConfig()
				cfg.NextProtos = tt.codec.ALPN()
				args = append(args, "--tls", "--insecure")
			}
			m := tt.engine.chain(routing(toCluster(t, "")))
			m.Codec = tt.codec
			addr := app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "a body of some length") })
			conform(t, proxyWith(t, m, cfg, clusterOf("c", addr)).ln.Addr(), args...)
		})
	}
}

// conform fails with the cases of h2spec that fail.
func conform(t *testing.T, addr string, args ...string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	const patience = "20" // seconds for what must come
	args = append(args, "--host", host, "--port", port, "--strict", "--timeout", patience, "--junit-report", file)
	out, err := exec.CommandContext(t.Context(), tooltest.Path(t, "h2spec"), args...).CombinedOutput()
	text, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatalf("h2spec has written no report: %v, %v\n%s", err, readErr, out)
	}
	var report specReport
	if err := xml.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	var failed []string
	passed := 0
	for _, s := range report.Suites {
		for _, c := range s.Cases {
			if o := firstOf(c.Failure, c.Error, c.Skipped); o != nil {
				failed = append(failed, fmt.Sprintf("%s, %q: %s", c.Section, c.Name, strings.TrimSpace(o.Text)))
				continue
			}
			passed++
		}
	}
	if len(failed) > 0 || err != nil {
		t.Errorf("h2spec: %d failed, %v:\n%s", len(failed), err, strings.Join(failed, "\n"))
	}
	if passed+len(failed) != specCases {
		t.Errorf("h2spec has run %d cases, want %d", passed+len(failed), specCases)
	}
}

func firstOf(list ...*outcome) *outcome {
	for _, o := range list {
		if o != nil {
			return o
		}
	}
	return nil
}
