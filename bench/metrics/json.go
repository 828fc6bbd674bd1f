package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

const (
	jsonExporter = "json_exporter"
	jsonSeries   = 3000
	jsonShape    = "JSON, 3,000 series"
)

const jsonConfig = `modules:
  default:
    metrics:
    - name: queue
      type: object
      help: Queues of the app
      path: '{.queues[*]}'
      labels: {queue: '{.name}', region: '{.site.region}', app: bench}
      values: {depth: '{.depth}', consumers: '{.consumers}', active: '{.active}'}
`

// jsonDocument has three series of each of its queues.
func jsonDocument(series int) []byte {
	var b strings.Builder
	b.WriteString(`{"version": "1.2", "queues": [`)
	for i := range series / 3 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name": "queue-%d", "site": {"region": "r%d", "zone": "z"}, "depth": %d.5, "consumers": %d, "active": %v, "note": "nothing that is read"}`,
			i, i%7, i*13, i%5, i%2 == 0)
	}
	b.WriteString("]}")
	return []byte(b.String())
}

func startJSON(ctx context.Context, name, dir, program string, args ...string) (*exporter, error) {
	port, err := gauge.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &exporter{name: name, http: "127.0.0.1:" + strconv.Itoa(port)}
	config := filepath.Join(dir, "json.yml")
	if err := os.WriteFile(config, []byte(jsonConfig), 0o644); err != nil {
		return nil, err
	}
	args = append(args, "--web.listen-address="+s.http, "--config.file="+config)
	if s.process, err = gauge.Start(name, filepath.Join(dir, name+"-json.log"), program, args...); err != nil {
		return nil, err
	}
	err = s.process.Await(ctx, func(ctx context.Context) error {
		_, err := get(ctx, s.http, "/metrics", nil)
		return err
	})
	if err != nil {
		s.process.Stop()
	}
	return s, err
}

// benchJSON measures probes of a document that this process serves.
func benchJSON(ctx context.Context, o *options, dir string, r *results) error {
	if !o.Shapes.MatchString(jsonShape) {
		return nil
	}
	theirs, err := exec.LookPath("bin/json_exporter")
	if err != nil {
		return fmt.Errorf("%w: make test-tools builds it; run this from the project's folder", err)
	}
	r.Versions = append(r.Versions, "json_exporter 0.7.0")
	address, stop, err := serveDocument(ctx, jsonDocument(jsonSeries))
	if err != nil {
		return err
	}
	defer stop()
	ours, err := startJSON(ctx, dragoman, dir, o.Proxy, "json-exporter")
	if err != nil {
		return err
	}
	defer ours.process.Stop()
	peer, err := startJSON(ctx, jsonExporter, dir, theirs)
	if err != nil {
		return err
	}
	defer peer.process.Stop()
	servers := []*exporter{ours, peer}
	probe := "/probe?target=" + url.QueryEscape("http://"+address+"/")
	if err := sameProbe(ctx, servers, probe); err != nil {
		return err
	}
	res := shapeResults{Shape: jsonShape, Unit: "scrape", Peer: jsonExporter, goal: 0.1}
	if err := res.run(ctx, o.Rounds, servers, probe, plainText(), o.scrapes); err != nil {
		return err
	}
	r.Shapes = append(r.Shapes, res)
	return nil
}

// serveDocument answers every request with the document.
func serveDocument(ctx context.Context, document []byte) (address string, stop func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // whoever asked finds out
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // it ends when it is closed
	}()
	return l.Addr().String(), func() {
		_ = server.Close() // nobody asks any more
		<-done
	}, nil
}

// sameProbe compares what both answer, line by line.
func sameProbe(ctx context.Context, servers []*exporter, probe string) error {
	var first []string
	for i, s := range servers {
		page, err := get(ctx, s.http, probe, plainText())
		if err != nil {
			return err
		}
		lines := strings.Split(page, "\n")
		slices.Sort(lines)
		if i == 0 {
			first = lines
		}
		if !slices.Equal(first, lines) || len(lines) < jsonSeries {
			return errors.New("the two do not answer the same to " + probe)
		}
	}
	return nil
}
