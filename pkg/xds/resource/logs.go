package resource

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/logs/parse"
)

// Defaults of a LogsFilter.
const (
	DefaultLogLine          = 256 << 10
	DefaultLogFiles         = 1024
	DefaultLogBatch         = 1 << 20
	DefaultLogRecords       = 10_000
	DefaultLogInterval      = time.Second
	DefaultLogRest          = 10 * time.Second
	DefaultLogTimeout       = 10 * time.Second
	DefaultMultilineLines   = 500
	DefaultMultilineTimeout = time.Second
)

// LogsFilter follows files and ships their lines. It is the filter of an internal
// listener: nobody connects to it.
type LogsFilter struct {
	Sources []LogsSource // names are unique
	// Resource is what is said of all records; what a source says goes before it.
	Resource map[string]string
	// Positions is the file that remembers how far each file has been delivered.
	Positions string
	// PositionsByDefault: nobody has named it, and a proxy with a folder for
	// positions keeps it there, under the same name.
	PositionsByDefault bool

	MaxLine  int // bytes
	MaxFiles int // open at once
	// Rest is how long a rotated file must not have been written to before it is
	// left.
	Rest time.Duration
	// A batch is sent when it has so many bytes or records, or is so old.
	BatchBytes, BatchRecords int
	BatchInterval            time.Duration
	// Sink is a *LogsStdout, *LogsOTLP, *LogsElasticsearch or *LogsLoki.
	Sink LogsSink
}

// LogsSource is some files whose lines are of one format.
type LogsSource struct {
	Name     string
	Paths    []string // patterns
	Exclude  []string
	FromEnd  bool
	Runtime  parse.Runtime
	Parse    parse.Options
	Resource map[string]string
	// Multiline joins lines; nil: each is a record.
	Multiline *LogsMultiline
	// DropUnparsed and DropLong leave out lines that are not of the format, or longer
	// than MaxLine, instead of keeping what there is of them.
	DropUnparsed, DropLong bool
}

// LogsMultiline says which lines belong together.
type LogsMultiline struct {
	Start    string // pattern of the first line of an event
	MaxLines int    // of an event; never 0
	// Timeout after the last line, when the event is taken for whole.
	Timeout time.Duration
}

// LogsSink is where records go.
type LogsSink interface {
	// Peer is how the receiver is reached; nil: there is none.
	Peer() *LogsPeer
}

// LogsPeer is a receiver behind a cluster, which knows its endpoints and TLS.
type LogsPeer struct {
	Cluster string
	Host    string // for the Host header and :authority
	Path    string // of the URL, with its query; "" with gRPC
	Headers map[string]string
	Auth    LogsAuth
	Timeout time.Duration // of one request
	Gzip    bool
}

// LogsAuth is who the proxy is to a receiver; the zero value is nobody.
type LogsAuth struct {
	Username string
	Password SecretKey
	Bearer   SecretKey
	APIKey   SecretKey // Elasticsearch's
}

// LogsStdout writes a line of JSON for each record to the standard output.
type LogsStdout struct{}

// LogsOTLP sends OpenTelemetry's protocol.
type LogsOTLP struct {
	LogsPeer
	GRPC bool
}

// LogsElasticsearch sends to the bulk API.
type LogsElasticsearch struct {
	LogsPeer
	Index string // or data stream
}

// LogsLoki sends to Loki's push API.
type LogsLoki struct {
	LogsPeer
	Tenant string
	// Labels are static; LabelsFrom are attributes of the resource that become
	// labels.
	Labels     map[string]string
	LabelsFrom []string
}

// Peer implements LogsSink.
func (*LogsStdout) Peer() *LogsPeer { return nil }

// Peer implements LogsSink.
func (s *LogsOTLP) Peer() *LogsPeer { return &s.LogsPeer }

// Peer implements LogsSink.
func (s *LogsElasticsearch) Peer() *LogsPeer { return &s.LogsPeer }

// Peer implements LogsSink.
func (s *LogsLoki) Peer() *LogsPeer { return &s.LogsPeer }

// ClusterNames implements FilterConfig.
func (f *LogsFilter) ClusterNames() []string {
	if p := f.Sink.Peer(); p != nil {
		return []string{p.Cluster}
	}
	return nil
}

// SecretNames implements FilterConfig.
func (f *LogsFilter) SecretNames() []string {
	var names []string
	for _, k := range f.SecretKeys() {
		names = append(names, k.Name)
	}
	return sortedNames(names)
}

// SecretKeys lists the values of secrets that the filter reads.
func (f *LogsFilter) SecretKeys() []SecretKey {
	var keys []SecretKey
	if p := f.Sink.Peer(); p != nil {
		for _, k := range []SecretKey{p.Auth.Password, p.Auth.Bearer, p.Auth.APIKey} {
			if k.Set() {
				keys = append(keys, k)
			}
		}
	}
	return keys
}
