// Package textfile reads the files that an app writes in Prometheus' text format,
// as the textfile collector of node_exporter does: all of a folder that end in
// .prom, with node_textfile_mtime_seconds and node_textfile_scrape_error.
package textfile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxFiles bounds a folder.
const maxFiles = 1000

// Source is a folder.
type Source struct {
	path string
	env  metrics.Env
}

// New makes a source. The folder need not be there yet.
func New(cfg *resource.TextfileSource, env metrics.Env) (*Source, error) {
	return &Source{path: cfg.Path, env: env}, nil
}

// Close implements metrics.Source.
func (*Source) Close() error { return nil }

// Gather implements metrics.Source. A file that cannot be read is left out as a
// whole, and told.
func (s *Source) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	names, errs := s.files()
	m := merged{byName: make(map[string]*dto.MetricFamily), room: cmp.Or(s.env.MaxSeries, families.DefaultLimit)}
	left := cmp.Or(s.env.MaxBytes, fetch.DefaultMaxBytes)
	b := &families.Builder{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			errs = append(errs, err)
			break
		}
		path := filepath.Join(s.path, name)
		read, mtime, err := m.file(path, left)
		if left -= read; err != nil {
			errs = append(errs, fmt.Errorf("reading %s: %w", path, err))
			continue
		}
		b.Gauge("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read.", mtime, "file", path)
	}
	failed := 0.0
	if len(errs) > 0 {
		failed = 1
	}
	b.Gauge("node_textfile_scrape_error", "1 if there was an error opening or reading a file, 0 otherwise", failed)
	own, _ := b.Done() // it has two families
	for _, mf := range own {
		if _, taken := m.byName[mf.GetName()]; !taken {
			m.list = append(m.list, mf)
		}
	}
	slices.SortFunc(m.list, func(x, y *dto.MetricFamily) int { return strings.Compare(x.GetName(), y.GetName()) })
	return m.list, errors.Join(errs...)
}

// files are the names of the files to read, sorted.
func (s *Source) files() (names []string, errs []error) {
	entries, err := os.ReadDir(s.path)
	if err != nil {
		return nil, []error{err}
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".prom") {
			names = append(names, e.Name())
		}
	}
	if len(names) > maxFiles {
		return names[:maxFiles], []error{fmt.Errorf("%d files: those after the first %d were left out", len(names), maxFiles)}
	}
	return names, nil
}

// merged are the families of several files.
type merged struct {
	list   []*dto.MetricFamily
	byName map[string]*dto.MetricFamily
	room   int // for series
}

// file adds the families of a file: all or none. It returns how many bytes and
// when the file was written, in seconds since 1970.
func (m *merged) file(path string, limit int64) (read int64, mtime float64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	data, err := fetch.ReadFile(path, limit)
	if err != nil {
		return 0, 0, err
	}
	found, err := Parse(data)
	if err != nil {
		return int64(len(data)), 0, err
	}
	if err := m.check(found); err != nil {
		return int64(len(data)), 0, err
	}
	for _, mf := range found {
		if mf.Help == nil {
			help := "Metric read from " + path
			mf.Help = &help
		}
		m.add(mf)
	}
	return int64(len(data)), float64(info.ModTime().UnixNano()) / 1e9, nil
}

func (m *merged) check(found []*dto.MetricFamily) error {
	series := 0
	for _, mf := range found {
		series += len(mf.Metric)
		if first := m.byName[mf.GetName()]; first != nil && first.GetType() != mf.GetType() {
			return fmt.Errorf("%s is a %s here and a %s in another file", mf.GetName(),
				strings.ToLower(mf.GetType().String()), strings.ToLower(first.GetType().String()))
		}
	}
	if series > m.room {
		return fmt.Errorf("%d series, and room for %d more", series, m.room)
	}
	m.room -= series
	return nil
}

// add adds a family; the help of the first file stays.
func (m *merged) add(mf *dto.MetricFamily) {
	if first := m.byName[mf.GetName()]; first != nil {
		first.Metric = append(first.Metric, mf.Metric...)
		return
	}
	m.byName[mf.GetName()] = mf
	m.list = append(m.list, mf)
}

// errTimestamp is node_exporter's rule: what says when it was is never stale.
var errTimestamp = errors.New("contains timestamps, which files cannot have")

// Parse reads a file, sorted by name. Timestamps are refused.
func Parse(data []byte) ([]*dto.MetricFamily, error) {
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	found, err := parser.TextToMetricFamilies(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out := make([]*dto.MetricFamily, 0, len(found))
	for _, mf := range found {
		for _, m := range mf.Metric {
			if m.TimestampMs != nil {
				return nil, fmt.Errorf("%s %w", mf.GetName(), errTimestamp)
			}
		}
		out = append(out, mf)
	}
	slices.SortFunc(out, func(x, y *dto.MetricFamily) int { return strings.Compare(x.GetName(), y.GetName()) })
	return out, nil
}
