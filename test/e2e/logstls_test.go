package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// logReceiver takes records over TLS from who shows a certificate of its authority, by each of the protocols.
type logReceiver struct {
	pki *redistest.PKI

	mu    sync.Mutex // guards below
	lines []string
	wrong []string
}

func (r *logReceiver) took(lines []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, lines...)
	if err != nil {
		r.wrong = append(r.wrong, err.Error())
	}
}

func (r *logReceiver) has() (lines, wrong []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.lines)), slices.Clone(r.wrong)
}

// config demands a client's certificate.
func (r *logReceiver) config() *tls.Config {
	c := r.pki.ServerConfig()
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c
}

// serve answers requests of HTTP, as the protocol that is read has it.
func (r *logReceiver) serve(t *testing.T, read func(w http.ResponseWriter, body []byte) ([]string, error)) (address string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err == nil && q.TLS.PeerCertificates[0].Subject.CommonName != "client" {
			err = errors.New(q.TLS.PeerCertificates[0].Subject.CommonName)
		}
		var lines []string
		if err == nil {
			lines, err = read(w, body)
		}
		r.took(lines, err)
	}))
	s.TLS = r.config()
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func readBulk(w http.ResponseWriter, body []byte) (lines []string, err error) {
	var items []string
	for n, line := range slices.Collect(bytes.Lines(body)) {
		if n%2 == 0 {
			items = append(items, `{"create":{"status":201}}`)
			continue
		}
		var doc struct{ Body string }
		err = errors.Join(err, json.Unmarshal(line, &doc))
		lines = append(lines, doc.Body)
	}
	fmt.Fprintf(w, `{"took":1,"errors":false,"items":[%s]}`, strings.Join(items, ","))
	return lines, err
}

func readPush(w http.ResponseWriter, body []byte) (lines []string, err error) {
	var push struct {
		Streams []struct{ Values [][2]string }
	}
	err = json.Unmarshal(body, &push)
	for _, s := range push.Streams {
		for _, v := range s.Values {
			var entry struct{ Body string }
			err = errors.Join(err, json.Unmarshal([]byte(v[1]), &entry))
			lines = append(lines, entry.Body)
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return lines, err
}

func readOTLP(_ http.ResponseWriter, body []byte) ([]string, error) {
	var q collogs.ExportLogsServiceRequest
	err := proto.Unmarshal(body, &q)
	return exported(&q), err
}

func exported(q *collogs.ExportLogsServiceRequest) (lines []string) {
	for _, resource := range q.GetResourceLogs() {
		for _, scope := range resource.GetScopeLogs() {
			for _, one := range scope.GetLogRecords() {
				lines = append(lines, one.GetBody().GetStringValue())
			}
		}
	}
	return lines
}

// otlpCollector is the receiver by gRPC.
type otlpCollector struct {
	collogs.UnimplementedLogsServiceServer
	r *logReceiver
}

func (c otlpCollector) Export(_ context.Context, q *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	c.r.took(exported(q), nil)
	return &collogs.ExportLogsServiceResponse{}, nil
}

func (r *logReceiver) serveGRPC(t *testing.T) (address string) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(credentials.NewTLS(r.config())))
	collogs.RegisterLogsServiceServer(s, otlpCollector{r: r})
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// TestLogsOverTLS ships logs by each protocol to a receiver that demands a certificate. An adapter that does not trust the receiver, expects another name, or has
// no certificate delivers nothing, and loses nothing: it says so, and delivers when its document is mended.
func TestLogsOverTLS(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		serve func(*logReceiver, *testing.T) string
		sink  string
	}{
		"OTLP by gRPC": {(*logReceiver).serveGRPC, `otlp: {address: "ADDRESS", tls: {TLS}}`},
		"OTLP by HTTP": {func(r *logReceiver, t *testing.T) string { return r.serve(t, readOTLP) }, `otlp: {address: "ADDRESS", protocol: http, compression: none, tls: {TLS}}`},
		"Elasticsearch": {
			func(r *logReceiver, t *testing.T) string { return r.serve(t, readBulk) },
			`elasticsearch: {address: "ADDRESS", index: logs-app-default, compression: none, tls: {TLS}}`,
		},
		"Loki": {func(r *logReceiver, t *testing.T) string { return r.serve(t, readPush) }, `loki: {address: "ADDRESS", labels: {job: app}, compression: none, tls: {TLS}}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &logReceiver{pki: redistest.NewPKI(t)}
			shipsOverTLS(t, r, strings.ReplaceAll(one.sink, "ADDRESS", one.serve(r, t)))
		})
	}
}

func shipsOverTLS(t *testing.T, r *logReceiver, sink string) {
	dir, others := t.TempDir(), redistest.NewPKI(t)
	otherCert, otherKey := others.Issue("stranger")
	good := fmt.Sprintf("mode: verify-full, caFile: %s, certFile: %s, keyFile: %s", r.pki.CAFile, r.pki.ClientCertFile, r.pki.ClientKeyFile)
	adapters := map[string]string{
		"good":               good,
		"another-authority":  strings.Replace(good, r.pki.CAFile, others.CAFile, 1),
		"another-name":       good + ", serverName: elsewhere",
		"no-certificate":     "mode: verify-full, caFile: " + r.pki.CAFile,
		"strangers":          strings.NewReplacer(r.pki.ClientCertFile, otherCert, r.pki.ClientKeyFile, otherKey).Replace(good),
		"whom-it-never-asks": "mode: require, certFile: " + r.pki.ClientCertFile + ", keyFile: " + r.pki.ClientKeyFile,
	}
	documents := func(mended bool) string {
		var out []string
		for name, security := range adapters {
			if mended {
				security = good
			}
			out = append(out, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: %[1]s}
spec:
  logs:
    sources: [{name: app, paths: [%[2]s/%[1]s.log]}]
    batch: {interval: 20ms}
    sink: {%[3]s}
`, name, dir, strings.Replace(sink, "TLS", security, 1)))
		}
		return strings.Join(out, "---\n")
	}
	all := []string{"another-authority", "another-name", "good", "no-certificate", "strangers", "whom-it-never-asks"}
	for _, name := range all {
		appendLine(t, filepath.Join(dir, name+".log"), name)
	}
	p := startProxy(t, documents(false))
	redistest.Eventually(t, readyLimit, "the right ones to deliver, and the others to be refused", func() error {
		metrics := p.Get("/stats/prometheus")
		for _, wrong := range []string{"another-authority", "another-name", "no-certificate", "strangers"} {
			if !strings.Contains(metrics, `dragoman_logs_sink_errors_total{adapter="default/`+wrong+`/adapter"`) {
				return errors.New(wrong + " has no error")
			}
		}
		if lines, _ := r.has(); len(lines) < 2 {
			return fmt.Errorf("there are %q", lines)
		}
		return nil
	})
	if got, wrong := r.has(); !slices.Equal(got, []string{"good", "whom-it-never-asks"}) || len(wrong) > 0 {
		t.Errorf("delivered: %q; complaints: %q", got, wrong)
	}
	log := string(p.Output())
	for _, want := range []string{"log records are not taken; reading pauses until they are", "certificate signed by unknown authority", "not elsewhere"} {
		if !strings.Contains(log, want) {
			t.Errorf("the proxy's log has no %q:\n%s", want, log)
		}
	}
	p.Rewrite(documents(true))
	redistest.Eventually(t, readyLimit, "all lines", func() error {
		if lines, _ := r.has(); len(lines) < len(all) {
			return fmt.Errorf("there are %q", lines)
		}
		return nil
	})
	got, wrong := r.has()
	if diff := cmp.Diff(all, got); diff != "" || len(wrong) > 0 {
		t.Errorf("lines (-want +got):\n%s complaints: %q", diff, wrong)
	}
}
