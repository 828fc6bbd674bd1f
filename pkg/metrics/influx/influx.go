// Package influx takes InfluxDB's line protocol, on sockets and as the answer to
// /write, and names series as influxdb_exporter does.
package influx

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/push"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// requestTime bounds how long a request may take to arrive.
const requestTime = 30 * time.Second

// Source takes lines, and has the latest value of each series.
type Source struct {
	families.Ledger

	store    *push.Store
	listener *push.Listener
	http     *sockets.Lease // nil: none
	maxBody  int64
}

// New makes a source, and binds its sockets.
func New(cfg *resource.InfluxSource, env metrics.Env) (*Source, error) {
	s := &Source{store: push.NewStore(env.MaxSeries, cfg.TTL), maxBody: cmp.Or(env.MaxBytes, fetch.DefaultMaxBytes)}
	var err error
	s.listener, err = push.ListenTexts(&cfg.MetricsListen, env, s.store, &s.Ledger, ends, func(line []byte, now time.Time) {
		_ = s.take(line, now) // it is counted
	})
	if err != nil {
		return nil, err
	}
	if cfg.HTTP != "" {
		if s.http, err = env.Sockets.Stream("tcp", cfg.HTTP, s.serve); err != nil {
			return nil, errors.Join(err, s.listener.Close())
		}
	}
	return s, nil
}

// Addrs are where the source listens: udp, unixgram, tcp, HTTP, as far as it does.
func (s *Source) Addrs() []net.Addr {
	out := s.listener.Addrs()
	if s.http != nil {
		out = append(out, s.http.Addr())
	}
	return out
}

// Gather implements metrics.Source.
func (s *Source) Gather(context.Context) ([]*dto.MetricFamily, error) {
	s.listener.CountDrops()
	return s.store.Gather(time.Now())
}

// Close implements metrics.Source.
func (s *Source) Close() error {
	err := s.listener.Close()
	if s.http != nil {
		err = errors.Join(err, s.http.Close())
	}
	return err
}

// take keeps the values of a line.
func (s *Source) take(line []byte, now time.Time) error {
	if line[0] == '#' {
		return nil
	}
	p, err := Parse(string(line))
	if err != nil {
		s.Add("malformed", 1)
		return err
	}
	labels := make([]string, 0, 2*len(p.Tags))
	slices.SortStableFunc(p.Tags, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) })
	for _, t := range p.Tags {
		name := families.Name(t.Name)
		if n := len(labels); n > 0 && labels[n-2] == name {
			labels[n-1] = t.Value
			continue
		}
		labels = append(labels, name, t.Value)
	}
	for _, f := range p.Fields {
		name := p.Measurement
		if f.Name != "value" {
			name += "_" + f.Name
		}
		sample := push.Sample{Name: families.Name(name), Help: "InfluxDB Metric", Type: dto.MetricType_UNTYPED, Labels: labels, Value: f.Value}
		if !s.store.Set(&sample, now) {
			s.Add("series_limit", 1)
		}
	}
	return nil
}

// serve answers HTTP until ctx is done.
func (s *Source) serve(ctx context.Context, l net.Listener) {
	push.Inherit(ctx, s.store)
	defer push.Leave(ctx, s.store, 0)
	server := &http.Server{
		Handler: s.handler(), ReadTimeout: requestTime, WriteTimeout: requestTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(end) != nil {
			_ = server.Close() // who is still sending has had its time
		}
	}()
	_ = server.Serve(kept{l}) // it ends when ctx does
	<-done
}

// kept is a listener that is somebody else's to close.
type kept struct{ net.Listener }

func (kept) Close() error { return nil }

// handler has the paths of InfluxDB 1 and 2 that a sender asks for.
func (s *Source) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /write", s.write)
	mux.HandleFunc("POST /api/v2/write", s.write)
	mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/query", func(w http.ResponseWriter, _ *http.Request) { // CREATE DATABASE, before the first write
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"results": []}`) // whoever asked is gone then
	})
	return mux
}

// write takes the lines of a request. Those that are sound count, also if others
// are not.
func (s *Source) write(w http.ResponseWriter, r *http.Request) {
	var in io.Reader = http.MaxBytesReader(w, r.Body, s.maxBody)
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			refuse(w, http.StatusBadRequest, "the body is not packed by gzip")
			return
		}
		in = unpacked
	}
	body, err := io.ReadAll(io.LimitReader(in, s.maxBody+1))
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge || int64(len(body)) > s.maxBody:
		s.Add("too_large", 1)
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", s.maxBody))
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "the body could not be read")
		return
	}
	now, next := time.Now(), 1
	var first error
	for line := range ends().Lines(body) {
		n := next
		next += bytes.Count(line, []byte{'\n'})
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := s.take(line, now); err != nil && first == nil {
			first = fmt.Errorf("line %d: %w", n, err)
		}
	}
	if first != nil {
		refuse(w, http.StatusBadRequest, "partial write: "+first.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// refuse answers as InfluxDB does.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%q}`, text) // whoever asked is gone then
}
