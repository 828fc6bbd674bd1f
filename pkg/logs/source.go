package logs

import (
	"maps"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// source is what is known of a source. It is of the reading goroutine.
type source struct {
	config    *resource.LogsSource
	maxLine   int
	parser    parse.Parser
	unwrapper *parse.Unwrapper // nil: no runtime has written the files
	start     *regexp.Regexp   // nil: each line is an event
	streamKey []byte
	metrics   *Counters

	// since they were last put into the metrics
	lines, bytes, cut, unparsed uint64
	linesTotal, bytesTotal      prometheus.Counter
	cutTotal, unparsedTotal     prometheus.Counter
}

// Reasons for which a line is dropped.
const (
	tooLong    = "too_long"
	unparsable = "unparsable"
	refused    = "refused"
)

func newSource(f *resource.LogsFilter, config *resource.LogsSource, m *Counters) (*source, error) {
	s := &source{
		config: config, maxLine: f.MaxLine, streamKey: []byte("log.iostream"), metrics: m,
		linesTotal: m.Lines.WithLabelValues(config.Name), bytesTotal: m.Bytes.WithLabelValues(config.Name),
		cutTotal: m.Cut.WithLabelValues(config.Name), unparsedTotal: m.Unparsed.WithLabelValues(config.Name),
	}
	var err error
	if s.parser, err = parse.New(config.Parse); err != nil {
		return nil, err
	}
	if config.Runtime != parse.NoRuntime {
		s.unwrapper = parse.NewUnwrapper(config.Runtime)
	}
	if config.Multiline != nil {
		if s.start, err = regexp.Compile(config.Multiline.Start); err != nil {
			return nil, err
		}
	}
	for _, reason := range []string{tooLong, unparsable} {
		m.Dropped.WithLabelValues(config.Name, reason).Add(0)
	}
	return s, nil
}

func (s *source) newFlow(set *flows, stream string) flow {
	f := flow{set: set}
	if s.unwrapper != nil {
		f.name = []byte(stream)
	}
	if s.start != nil {
		f.joiner = parse.NewJoiner(s.start, s.config.Multiline.MaxLines, s.maxLine)
	}
	return f
}

func (s *source) dropped(reason string) {
	s.metrics.Dropped.WithLabelValues(s.config.Name, reason).Inc()
}

func (s *source) lost(reason string, bytes int64) {
	s.metrics.Lost.WithLabelValues(s.config.Name, reason).Add(float64(bytes))
}

func (s *source) count() {
	for _, c := range [...]struct {
		n     *uint64
		total prometheus.Counter
	}{{&s.lines, s.linesTotal}, {&s.bytes, s.bytesTotal}, {&s.cut, s.cutTotal}, {&s.unparsed, s.unparsedTotal}} {
		if *c.n > 0 {
			c.total.Add(float64(*c.n))
			*c.n = 0
		}
	}
}

// resource says where the records of a path come from. The nearest word counts:
// that of the path before that of the process, and what the document says before
// both.
func (s *source) resource(path string, host, all map[string]string) *record.Resource {
	attributes := maps.Clone(host)
	if attributes == nil {
		attributes = map[string]string{}
	}
	maps.Copy(attributes, podOf(path))
	attributes["log.file.path"] = path
	maps.Copy(attributes, all)
	maps.Copy(attributes, s.config.Resource)
	return record.NewResource(attributes)
}

// podOf reads what the names of a node's log files say: those of the kubelet,
// /var/log/pods/NAMESPACE_POD_UID/CONTAINER/0.log, and the links to them,
// /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log.
func podOf(path string) map[string]string {
	parts := strings.Split(path, "/")
	n := len(parts)
	if n >= 4 && parts[n-4] == "pods" {
		if pod := strings.Split(parts[n-3], "_"); len(pod) == 3 {
			return map[string]string{
				"k8s.namespace.name": pod[0], "k8s.pod.name": pod[1], "k8s.pod.uid": pod[2], "k8s.container.name": parts[n-2],
			}
		}
	}
	if n >= 2 && parts[n-2] == "containers" {
		pod := strings.Split(strings.TrimSuffix(filepath.Base(path), ".log"), "_")
		if len(pod) != 3 {
			return nil
		}
		dash := strings.LastIndexByte(pod[2], '-')
		if dash < 0 {
			return nil
		}
		return map[string]string{"k8s.pod.name": pod[0], "k8s.namespace.name": pod[1], "k8s.container.name": pod[2][:dash]}
	}
	return nil
}
