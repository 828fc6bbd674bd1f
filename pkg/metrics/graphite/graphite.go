// Package graphite takes lines of Graphite's plain text protocol, and names
// metrics by a mapping file of graphite_exporter, which is as statsd_exporter's.
package graphite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/mappingfile"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/push"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxTags bounds the tags of a line.
const maxTags = 64

// Source takes lines, and has the latest value of each series.
type Source struct {
	families.Ledger

	store    *push.Store
	listener *push.Listener
	live     *mappingfile.Live // Gather's; nil: the mapping is no file

	mu      sync.Mutex
	mapping *mapping.File // nil: none; guarded by mu
	match   mapping.Match // guarded by mu
}

// New makes a source, and binds its sockets.
func New(cfg *resource.GraphiteSource, env metrics.Env) (*Source, error) {
	s := &Source{store: push.NewStore(env.MaxSeries, cfg.TTL)}
	if err := s.load(cfg.Mapping); err != nil {
		return nil, err
	}
	var err error
	s.listener, err = push.Listen(&cfg.MetricsListen, env, s.store, &s.Ledger, s.take)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Source) load(m resource.MetricsMapping) (err error) {
	switch {
	case m.File != "":
		s.live, s.mapping, err = mappingfile.Open(m.File)
	case m.Text != "":
		file, errs := mapping.Parse("mapping", []byte(m.Text))
		s.mapping, err = file, errs.Err()
	}
	return err
}

// Gather implements metrics.Source. A mapping file that has changed holds for lines
// that come afterwards; one that is not sound is told, and the mapping stays.
func (s *Source) Gather(context.Context) ([]*dto.MetricFamily, error) {
	stale := s.refresh()
	s.listener.CountDrops()
	out, err := s.store.Gather(time.Now())
	return out, errors.Join(stale, err)
}

func (s *Source) refresh() error {
	if s.live == nil {
		return nil
	}
	file, _, err := s.live.Refresh()
	if file != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mapping = file
	}
	return err
}

// Close implements metrics.Source.
func (s *Source) Close() error { return s.listener.Close() }

// take keeps the value of a line.
func (s *Source) take(line []byte, now time.Time) {
	l, err := Parse(string(line))
	if err != nil {
		s.Add("malformed", 1)
		return
	}
	sample, ok := s.sample(&l)
	if !ok {
		return // the mapping drops it
	}
	if !s.store.Set(&sample, now) {
		s.Add("series_limit", 1)
	}
}

// sample names what a line says.
func (s *Source) sample(l *Line) (push.Sample, bool) {
	out := push.Sample{Name: families.MetricName(l.Path), Type: dto.MetricType_GAUGE, Value: l.Value}
	labels := make(map[string]string, len(l.Tags)/2)
	for i := 0; i+1 < len(l.Tags); i += 2 {
		labels[families.Name(l.Tags[i])] = l.Tags[i+1]
	}
	if !s.mapped(l, &out, labels) {
		return out, false
	}
	if out.Help == "" {
		out.Help = "Graphite metric " + out.Name
	}
	names := make([]string, 0, len(labels))
	for name := range labels {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		out.Labels = append(out.Labels, name, labels[name])
	}
	return out, true
}

// mapped applies the mapping file; false if that drops the metric.
func (s *Source) mapped(l *Line, out *push.Sample, labels map[string]string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mapping == nil {
		return true
	}
	s.mapping.Match(&s.match, []byte(l.Path), mapping.Gauge)
	rule := s.match.Rule
	if rule == nil {
		return true
	}
	if rule.Drop || len(s.match.Name) == 0 {
		return false
	}
	out.Name, out.Help, out.TTL, out.Value = families.MetricName(string(s.match.Name)), rule.Help, rule.TTL, rule.Scaled(l.Value)
	for i, label := range rule.Labels {
		if _, there := labels[label.Name]; !there || !rule.HonorLabels {
			labels[label.Name] = string(s.match.Values[i])
		}
	}
	return true
}

// Line is a line of the protocol.
type Line struct {
	Path  string
	Tags  []string // name, value, name, value
	Value float64
	Time  float64 // seconds since 1970; 0: not told
}

// ErrLine is a line that is none.
var ErrLine = errors.New("not a line of Graphite")

// Parse reads "path;tag=value value time". The time may be missing, as many
// senders leave it out.
func Parse(text string) (Line, error) {
	fields := strings.Fields(text)
	if len(fields) < 2 || len(fields) > 3 || !utf8.ValidString(text) {
		return Line{}, fmt.Errorf("%w: a path, a value and a time are needed", ErrLine)
	}
	var l Line
	path, tags, tagged := strings.Cut(fields[0], ";")
	l.Path = path
	if path == "" {
		return Line{}, fmt.Errorf("%w: the path is empty", ErrLine)
	}
	if tagged {
		for tag := range strings.SplitSeq(tags, ";") {
			name, value, ok := strings.Cut(tag, "=")
			if !ok || name == "" || len(l.Tags) >= 2*maxTags {
				return Line{}, fmt.Errorf("%w: a tag is no name=value, or there are too many", ErrLine)
			}
			l.Tags = append(l.Tags, name, value)
		}
	}
	var err error
	if l.Value, err = strconv.ParseFloat(fields[1], 64); err != nil {
		return Line{}, fmt.Errorf("%w: the value is no number", ErrLine)
	}
	if len(fields) == 3 && fields[2] != "-1" && fields[2] != "N" {
		if l.Time, err = strconv.ParseFloat(fields[2], 64); err != nil {
			return Line{}, fmt.Errorf("%w: the time is no number", ErrLine)
		}
	}
	return l, nil
}

// Append appends the line.
func (l *Line) Append(dst []byte) []byte {
	b := bytes.NewBuffer(dst)
	b.WriteString(l.Path)
	for i := 0; i+1 < len(l.Tags); i += 2 {
		b.WriteString(";" + l.Tags[i] + "=" + l.Tags[i+1])
	}
	dst = strconv.AppendFloat(append(b.Bytes(), ' '), l.Value, 'g', -1, 64)
	if l.Time != 0 {
		dst = strconv.AppendFloat(append(dst, ' '), l.Time, 'f', -1, 64)
	}
	return dst
}

// Addrs are where the source listens: udp, unixgram, tcp, as far as it does.
func (s *Source) Addrs() []net.Addr { return s.listener.Addrs() }
