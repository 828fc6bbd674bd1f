package mesh

import (
	"path"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
)

// LogsAdapter follows files and ships their lines in one form.
type LogsAdapter struct {
	// Sources are files, in sets of one format each; at least one.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	Sources []LogSource `json:"sources"`
	Sink    LogSink     `json:"sink"`
	// Resource is what is said of where all records come from, by names of
	// OpenTelemetry ("service.name"). Pod, namespace, node, container and file are
	// there already where they are known.
	// +kubebuilder:validation:MaxProperties=64
	Resource map[string]string `json:"resource,omitempty"`
	// Positions is the file in which the proxy remembers how far it has delivered
	// each file, on a volume that lives as long as the logs do. Default: a hidden
	// file in the folder of the first path; of proxies that are injected, one among
	// their own state, which lives as long as the pod.
	// +kubebuilder:validation:Pattern=`^/.`
	// +kubebuilder:validation:MaxLength=4096
	Positions string      `json:"positions,omitempty"`
	Limits    *LogsLimits `json:"limits,omitempty"`
	Batch     *LogsBatch  `json:"batch,omitempty"`
	// RotateWait is how long a rotated file must not have been written to before
	// it is left; default 10s.
	RotateWait *Duration `json:"rotateWait,omitempty"`
}

// LogsLimits bound what logs may cost.
type LogsLimits struct {
	// Line is how much of a line is kept, or of the lines of an event; default
	// 256Ki.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+([kKMGT]|[KMGT]i)?B?$`
	Line *Bytes `json:"line,omitempty"`
	// Files open at once; default 1024.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	Files *uint32 `json:"files,omitempty"`
}

// LogsBatch says when records are sent: as soon as one of the three is reached.
// Three batches are the most that is in memory.
type LogsBatch struct {
	// Bytes of records, as they were read; default 1Mi.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+([kKMGT]|[KMGT]i)?B?$`
	Bytes *Bytes `json:"bytes,omitempty"`
	// Records in a batch; default 10000.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Records *uint32 `json:"records,omitempty"`
	// Interval after the first record; default 1s.
	Interval *Duration `json:"interval,omitempty"`
}

// LogSource is some files whose lines are of one format.
type LogSource struct {
	// Name is the label source of the metrics.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Paths are absolute, with the patterns of a shell within one name:
	// /var/log/nginx/*.log. Compressed files are left out.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	Paths []string `json:"paths"`
	// Exclude are patterns for the whole path or the name.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=4096
	Exclude []string `json:"exclude,omitempty"`
	// StartAt is for files that are there when the source is first seen: Beginning
	// (the default) or End.
	StartAt LogStart `json:"startAt,omitempty"`
	// Runtime that has written the lines for the app: cri or docker. Absent: the app
	// has written them itself.
	Runtime LogRuntime `json:"runtime,omitempty"`
	// Format of the lines; default plain.
	Format LogFormat `json:"format,omitempty"`
	// Pattern (RE2) for format regex, whose named groups become fields.
	// +kubebuilder:validation:MaxLength=4096
	Pattern string `json:"pattern,omitempty"`
	// Fields that mean something for the record, for the formats json, logfmt and regex;
	// absent: those with the usual names. Others are attributes.
	Fields *LogFields `json:"fields,omitempty"`
	// Multiline joins the lines of an event; absent: each line is one.
	Multiline *LogMultiline `json:"multiline,omitempty"`
	// OnUnparsable is what becomes of lines that are not of the format: Keep (the
	// default: the line is the body) or Drop.
	OnUnparsable RuleAction `json:"onUnparsable,omitempty"`
	// OnTooLong is what becomes of lines that are longer than limits.line: Truncate
	// (the default) or Drop.
	OnTooLong LogLongAction `json:"onTooLong,omitempty"`
	// Resource is what is said of where the records of this source come from, beside
	// that of the adapter, over which it goes.
	// +kubebuilder:validation:MaxProperties=64
	Resource map[string]string `json:"resource,omitempty"`
}

// LogFields say which fields mean something for the record, for the formats json,
// logfmt and regex. What is absent is looked for under its usual names; fields
// without a meaning are attributes.
type LogFields struct {
	// Timestamp is the field with the time of the event, in timeFormat; default: the
	// first that is there of timestamp, time, ts, @timestamp and t. Without one it is
	// when the line was read.
	// +kubebuilder:validation:MaxLength=253
	Timestamp string `json:"timestamp,omitempty"`
	// TimeFormat is auto (the default), rfc3339, clf, unix, unixMilli, unixMicro,
	// unixNano, or a layout of Go: "2006-01-02 15:04:05.000".
	// +kubebuilder:validation:MaxLength=253
	TimeFormat string `json:"timeFormat,omitempty"`
	// Severity is the field with the level; default: severity, level, lvl, loglevel,
	// log.level, levelname or severityText.
	// +kubebuilder:validation:MaxLength=253
	Severity string `json:"severity,omitempty"`
	// Body is the field with the message; default: body, message or msg.
	// +kubebuilder:validation:MaxLength=253
	Body string `json:"body,omitempty"`
	// TraceID is the field with the trace, 32 hex digits; default: trace_id, traceId,
	// traceid or trace.id.
	// +kubebuilder:validation:MaxLength=253
	TraceID string `json:"traceId,omitempty"`
	// SpanID is the field with the span, 16 hex digits; default: span_id, spanId, spanid
	// or span.id.
	// +kubebuilder:validation:MaxLength=253
	SpanID string `json:"spanId,omitempty"`
	// Severities are what the app's own words mean, as one of trace, debug, info, warn,
	// error and fatal: {oops: error}.
	// +kubebuilder:validation:MaxProperties=64
	Severities map[string]string `json:"severities,omitempty"`
}

// LogMultiline says which lines belong together.
type LogMultiline struct {
	// Start (RE2) matches the first line of an event; what follows belongs to it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Start string `json:"start"`
	// MaxLines of an event; default 500.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxLines *uint32 `json:"maxLines,omitempty"`
	// Timeout after the last line, when the event is taken for whole; default 1s.
	Timeout *Duration `json:"timeout,omitempty"`
}

// +kubebuilder:validation:Enum=Beginning;End

// LogStart is where a file is begun.
type LogStart string

// Values lists where.
func (LogStart) Values() []string { return []string{"Beginning", "End"} }

// +kubebuilder:validation:Enum=cri;docker

// LogRuntime is what writes an app's lines to a file.
type LogRuntime string

// Values lists the runtimes.
func (LogRuntime) Values() []string { return []string{"cri", "docker"} }

// +kubebuilder:validation:Enum=plain;nginxCombined;nginxError;json;logfmt;regex

// LogFormat is what lines are written in.
type LogFormat string

// Values lists the formats.
func (LogFormat) Values() []string {
	return []string{"plain", "nginxCombined", "nginxError", "json", "logfmt", "regex"}
}

// +kubebuilder:validation:Enum=Truncate;Drop

// LogLongAction is what becomes of a line that is too long.
type LogLongAction string

// Values lists what may become of it.
func (LogLongAction) Values() []string { return []string{"Truncate", "Drop"} }

// +kubebuilder:validation:XValidation:rule="[has(self.stdout), has(self.otlp), has(self.elasticsearch), has(self.loki)].exists_one(x, x)",message="exactly one of stdout, otlp, elasticsearch and loki is needed"

// LogSink is where records go: exactly one of its fields is there.
type LogSink struct {
	// Stdout writes a line of JSON for each record to the proxy's own standard output.
	Stdout *StdoutSink `json:"stdout,omitempty"`
	// OTLP is a collector of OpenTelemetry.
	OTLP *OTLPSink `json:"otlp,omitempty"`
	// Elasticsearch, or OpenSearch, by its bulk API.
	Elasticsearch *ElasticsearchSink `json:"elasticsearch,omitempty"`
	// Loki, by its push API.
	Loki *LokiSink `json:"loki,omitempty"`
}

// StdoutSink is the proxy's own standard output. What the proxy has to say of
// itself goes to standard error.
type StdoutSink struct{}

// +kubebuilder:validation:XValidation:rule="has(self.address) != has(self.service)",message="exactly one of address and service is needed"

// LogReceiver is a server that takes records: exactly one of Address and Service
// is there.
type LogReceiver struct {
	// Address is "host:port", "[v6]:port" or the path of a unix socket.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=260
	Address string `json:"address,omitempty"`
	// Service whose endpoints are all alike; needs a control plane.
	Service *ServiceRef  `json:"service,omitempty"`
	TLS     *UpstreamTLS `json:"tls,omitempty"`
	Auth    *LogAuth     `json:"auth,omitempty"`
	// Headers of each request, which are no secrets.
	// +kubebuilder:validation:MaxProperties=16
	Headers map[string]string `json:"headers,omitempty"`
	// Timeout of one request; default 10s.
	Timeout *Duration `json:"timeout,omitempty"`
	// Compression of requests; default gzip.
	Compression LogCompression `json:"compression,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="[has(self.passwordFile), has(self.passwordEnv), has(self.passwordSecret), has(self.bearerTokenFile), has(self.bearerTokenEnv), has(self.bearerTokenSecret), has(self.apiKeyFile), has(self.apiKeyEnv), has(self.apiKeySecret)].filter(x, x).size() <= 1",message="at most one password, bearer token or API key may be there"

// LogAuth is a user name with a password, a bearer token, or a key of
// Elasticsearch. Files and variables hold the secret and nothing else.
type LogAuth struct {
	SourceAuth `json:",inline"`
	// APIKeyFile is the path of a file with a key of Elasticsearch's API, in its encoded
	// form.
	// +kubebuilder:validation:MaxLength=4096
	APIKeyFile string `json:"apiKeyFile,omitempty"`
	// APIKeyEnv names a variable of the proxy's environment with such a key.
	// +kubebuilder:validation:MaxLength=253
	APIKeyEnv string `json:"apiKeyEnv,omitempty"`
	// APIKeySecret is a Secret with such a key; needs a control plane.
	APIKeySecret *SecretKeyRef `json:"apiKeySecret,omitempty"`
}

// +kubebuilder:validation:Enum=gzip;none

// LogCompression is how requests are compressed.
type LogCompression string

// Values lists the ways.
func (LogCompression) Values() []string { return []string{"gzip", "none"} }

// OTLPSink is a collector of OpenTelemetry.
type OTLPSink struct {
	LogReceiver `json:",inline"`
	// Protocol: grpc (the default) or http.
	Protocol OTLPProtocol `json:"protocol,omitempty"`
	// Path with http; default /v1/logs.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
}

// +kubebuilder:validation:Enum=grpc;http

// OTLPProtocol is how OTLP travels.
type OTLPProtocol string

// Values lists the ways.
func (OTLPProtocol) Values() []string { return []string{"grpc", "http"} }

// ElasticsearchSink is a cluster of Elasticsearch or OpenSearch.
type ElasticsearchSink struct {
	LogReceiver `json:",inline"`
	// Index, or data stream, as in logs-nginx-default.
	// +kubebuilder:validation:Pattern=`^[^-_+A-Z\\/*?"<>| ,#:][^A-Z\\/*?"<>| ,#:]*$`
	// +kubebuilder:validation:MaxLength=255
	Index string `json:"index"`
	// Pipeline that documents go through there; default: the index' own.
	// +kubebuilder:validation:Pattern=`^[-A-Za-z0-9_.]*$`
	// +kubebuilder:validation:MaxLength=255
	Pipeline string `json:"pipeline,omitempty"`
	// Path before /_bulk, for one behind a proxy.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
}

// LokiSink is a Loki.
type LokiSink struct {
	LogReceiver `json:",inline"`
	// Tenant for the header X-Scope-OrgID, where Loki has several; absent: there is no
	// such header.
	// +kubebuilder:validation:MaxLength=150
	Tenant string `json:"tenant,omitempty"`
	// Labels that all streams have; at least one, or one of labelsFrom.
	// +kubebuilder:validation:MaxProperties=15
	Labels map[string]string `json:"labels,omitempty"`
	// LabelsFrom are attributes of the resource that become labels, with _ for what
	// a label's name cannot have. There are as many streams as files have different
	// ones: name none that differs without need.
	// +kubebuilder:validation:MaxItems=15
	LabelsFrom []string `json:"labelsFrom,omitempty"`
	// Path; default /loki/api/v1/push.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
}

// Receiver gives the server that takes records; nil: there is none.
func (s *LogSink) Receiver() *LogReceiver {
	switch {
	case s.OTLP != nil:
		return &s.OTLP.LogReceiver
	case s.Elasticsearch != nil:
		return &s.Elasticsearch.LogReceiver
	case s.Loki != nil:
		return &s.Loki.LogReceiver
	}
	return nil
}

// ParseOptions says how the lines of a source are read.
func (s *LogSource) ParseOptions() parse.Options {
	o := parse.Options{Format: parse.Format(s.Format), Pattern: s.Pattern}
	if f := s.Fields; f != nil {
		o.Fields = parse.Fields{
			Timestamp: f.Timestamp, TimeFormat: f.TimeFormat, Severity: f.Severity, Body: f.Body,
			TraceID: f.TraceID, SpanID: f.SpanID, Severities: f.Severities,
		}
	}
	return o
}

// LogPositions is where the positions are kept; "": it must be said, because the
// folder of the first path is a pattern.
func (l *LogsAdapter) LogPositions(m *Metadata) string {
	if l.Positions != "" || len(l.Sources) == 0 || len(l.Sources[0].Paths) == 0 {
		return l.Positions
	}
	dir := path.Dir(l.Sources[0].Paths[0])
	if strings.ContainsAny(dir, `*?[\`) {
		return ""
	}
	return path.Join(dir, ".dragoman-"+m.Namespace+"-"+m.Name+".positions")
}
