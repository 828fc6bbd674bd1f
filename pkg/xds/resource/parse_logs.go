package resource

import (
	"cmp"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"regexp"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	logsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/logs/v1"
	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
)

// logsFilter reads the filter of a logs adapter.
func (r *reader) logsFilter(packed *anypb.Any, at string) *LogsFilter {
	f := &LogsFilter{Sink: &LogsStdout{}}
	var p logsv1.Logs
	if !r.unpack(packed, &p, at) {
		return f
	}
	f.Resource, f.Positions, f.PositionsByDefault = p.GetResource(), p.GetPositions(), p.GetPositionsByDefault()
	f.MaxLine = r.size(p.GetMaxLineBytes(), join(at, "max_line_bytes"), DefaultLogLine, 256, 16<<20)
	f.MaxFiles = int(r.atLeast(p.GetMaxFiles(), join(at, "max_files"), DefaultLogFiles, 1))
	f.Rest = r.positive(p.GetRotateWait(), join(at, "rotate_wait"), DefaultLogRest)
	f.BatchBytes = r.size(p.GetBatchBytes(), join(at, "batch_bytes"), DefaultLogBatch, 1<<10, 64<<20)
	f.BatchRecords = int(r.atLeast(p.GetBatchRecords(), join(at, "batch_records"), DefaultLogRecords, 1))
	f.BatchInterval = r.positive(p.GetBatchInterval(), join(at, "batch_interval"), DefaultLogInterval)
	if !path.IsAbs(f.Positions) {
		r.fail(join(at, "positions"), "must be the absolute path of a file")
	}
	if len(p.GetSources()) == 0 {
		r.fail(join(at, "sources"), "is empty")
	}
	seen := map[string]bool{}
	for i, s := range p.GetSources() {
		here := index(join(at, "sources"), i)
		if s.GetName() == "" || seen[s.GetName()] {
			r.fail(join(here, "name"), "is missing, or that of another source")
		}
		seen[s.GetName()] = true
		f.Sources = append(f.Sources, r.logsSource(s, here))
	}
	r.logsSink(&p, at, f)
	return f
}

// size reads a number of bytes.
func (r *reader) size(v *wrapperspb.UInt64Value, at string, fallback int, low, high uint64) int {
	if v == nil {
		return fallback
	}
	if n := v.GetValue(); n >= low && n <= min(high, math.MaxInt32) {
		return int(n)
	}
	r.fail(at, "must be from %d to %d", low, high)
	return fallback
}

func (r *reader) logsSource(p *logsv1.Source, at string) LogsSource {
	s := LogsSource{
		Name: p.GetName(), Paths: p.GetPaths(), Exclude: p.GetExclude(), FromEnd: p.GetFromEnd(), Resource: p.GetResource(),
		DropUnparsed: p.GetDropUnparsable(), DropLong: p.GetDropTooLong(),
		Parse: parse.Options{Format: parse.Format(cmp.Or(p.GetFormat(), string(parse.Plain))), Pattern: p.GetPattern()},
	}
	if len(s.Paths) == 0 {
		r.fail(join(at, "paths"), "is empty")
	}
	for i, pattern := range s.Paths {
		if _, err := filepath.Match(pattern, "x"); err != nil || !path.IsAbs(pattern) {
			r.fail(index(join(at, "paths"), i), "%q is not an absolute pattern", pattern)
		}
	}
	for i, pattern := range s.Exclude {
		if _, err := filepath.Match(pattern, "x"); err != nil {
			r.fail(index(join(at, "exclude"), i), "%q is not a pattern", pattern)
		}
	}
	switch p.GetRuntime() {
	case logsv1.Runtime_NONE:
	case logsv1.Runtime_CRI:
		s.Runtime = parse.CRI
	case logsv1.Runtime_DOCKER:
		s.Runtime = parse.Docker
	default:
		r.fail(join(at, "runtime"), "has the unknown value %d", p.GetRuntime())
	}
	if f := p.GetFields(); f != nil {
		s.Parse.Fields = parse.Fields{
			Timestamp: f.GetTimestamp(), TimeFormat: f.GetTimeFormat(), Severity: f.GetSeverity(), Body: f.GetBody(),
			TraceID: f.GetTraceId(), SpanID: f.GetSpanId(), Severities: f.GetSeverities(),
		}
	}
	if _, err := parse.New(s.Parse); err != nil {
		r.fail(join(at, "format"), "%v", err)
	}
	s.Multiline = r.logsMultiline(p.GetMultiline(), join(at, "multiline"))
	return s
}

func (r *reader) logsMultiline(p *logsv1.Multiline, at string) *LogsMultiline {
	if p == nil {
		return nil
	}
	if _, err := regexp.Compile(p.GetStart()); err != nil || p.GetStart() == "" {
		r.fail(join(at, "start"), "%q is not a regular expression", p.GetStart())
	}
	return &LogsMultiline{
		Start:    p.GetStart(),
		MaxLines: int(r.atLeast(p.GetMaxLines(), join(at, "max_lines"), DefaultMultilineLines, 1)),
		Timeout:  r.positive(p.GetTimeout(), join(at, "timeout"), DefaultMultilineTimeout),
	}
}

func (r *reader) logsSink(p *logsv1.Logs, at string, f *LogsFilter) {
	switch s := p.GetSink().(type) {
	case *logsv1.Logs_Stdout:
	case *logsv1.Logs_Otlp:
		f.Sink = &LogsOTLP{LogsPeer: r.logsPeer(s.Otlp.GetPeer(), join(at, "otlp.peer"), s.Otlp.GetGrpc()), GRPC: s.Otlp.GetGrpc()}
	case *logsv1.Logs_Elasticsearch:
		if s.Elasticsearch.GetIndex() == "" {
			r.fail(join(at, "elasticsearch.index"), "is missing")
		}
		f.Sink = &LogsElasticsearch{LogsPeer: r.logsPeer(s.Elasticsearch.GetPeer(), join(at, "elasticsearch.peer"), false), Index: s.Elasticsearch.GetIndex()}
	case *logsv1.Logs_Loki:
		l := s.Loki
		if n := len(l.GetLabels()) + len(l.GetLabelsFrom()); n == 0 || n > maxLokiLabels {
			r.fail(join(at, "loki.labels"), "must be from 1 to %d, with labels_from", maxLokiLabels)
		}
		r.labels(l.GetLabels(), join(at, "loki.labels"))
		f.Sink = &LogsLoki{
			LogsPeer: r.logsPeer(l.GetPeer(), join(at, "loki.peer"), false), Tenant: l.GetTenant(), Labels: l.GetLabels(), LabelsFrom: l.GetLabelsFrom(),
		}
	default:
		r.fail(at, "names no sink")
	}
}

// maxLokiLabels is what Loki takes by default.
const maxLokiLabels = 15

func (r *reader) logsPeer(p *logsv1.Peer, at string, grpc bool) LogsPeer {
	peer := LogsPeer{
		Cluster: p.GetCluster(), Host: p.GetHost(), Path: p.GetPath(), Headers: p.GetHeaders(), Gzip: p.GetGzip(),
		Timeout: r.positive(p.GetTimeout(), join(at, "timeout"), DefaultLogTimeout),
	}
	if peer.Cluster == "" {
		r.fail(join(at, "cluster"), "is missing")
	}
	if !grpc && (peer.Path == "" || peer.Path[0] != '/') {
		r.fail(join(at, "path"), "must be the path of a URL")
	}
	if a := p.GetAuth(); a != nil {
		peer.Auth.Username = a.GetUsername()
		n := 0
		if k := a.GetPassword(); k != nil {
			peer.Auth.Password = r.secretKey(k, join(at, "auth.password"))
			n++
		}
		if k := a.GetBearerToken(); k != nil {
			peer.Auth.Bearer = r.secretKey(k, join(at, "auth.bearer_token"))
			n++
		}
		if k := a.GetApiKey(); k != nil {
			peer.Auth.APIKey = r.secretKey(k, join(at, "auth.api_key"))
			n++
		}
		if n > 1 {
			r.fail(join(at, "auth"), "has several of password, bearer_token and api_key")
		}
	}
	return peer
}

// internalAddress is that of a listener to which nobody connects.
func internalAddress(name string) ListenAddress {
	return ListenAddress{Network: NetworkInternal, Addr: fmt.Sprintf("internal:%s", name)}
}
