package resource

import (
	"io/fs"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// Defaults of a MetricsFilter.
const (
	DefaultMetricsPath     = "/metrics"
	DefaultSeriesPerSource = 10_000
	DefaultBytesPerSource  = 16 << 20
	DefaultMetricsInterval = time.Second
	DefaultFetchTimeout    = 5 * time.Second
	DefaultJSONModule      = "default" // as json_exporter
	// DefaultReadBuffer is asked of the kernel for datagrams, in bytes. The kernel gives
	// what net.core.rmem_max allows, and takes memory for what has arrived alone.
	DefaultReadBuffer = 4 << 20
)

// MetricsFilter is the HTTP filter that answers one path with the metrics of all
// its sources. It is the last of its chain.
type MetricsFilter struct {
	Path    string
	Sources []MetricsSource // names are unique
	Rules   []MetricsRule   // for all sources, after those of each
	Relabel []Relabeling    // for all sources, after all rules
	// SeriesPerSource bounds what is kept and shown of a source, BytesPerSource what
	// is read of one answer; never 0.
	SeriesPerSource uint32
	BytesPerSource  int64
	// MinInterval is how long what a source gave is given again.
	MinInterval  time.Duration
	ExcludeProxy bool // leave the proxy's own metrics out
}

// MetricsSource is one place where metrics are.
type MetricsSource struct {
	Name    string
	Prefix  string
	Labels  map[string]string
	Rules   []MetricsRule
	Relabel []Relabeling
	// Kind says what the source is: a pointer to one of the structs below.
	// pkg/metrics/standard has the constructor of each.
	Kind MetricsKind
}

// MetricsKind is the configuration of one kind of source.
type MetricsKind interface {
	// SecretKeys lists the values of secrets that the source reads.
	SecretKeys() []SecretKey
}

// ClusterNames implements FilterConfig: sources are the app's, and beside the
// proxy.
func (*MetricsFilter) ClusterNames() []string { return nil }

// SecretNames implements FilterConfig.
func (f *MetricsFilter) SecretNames() []string {
	var names []string
	for i := range f.Sources {
		for _, k := range f.Sources[i].Kind.SecretKeys() {
			names = append(names, k.Name)
		}
	}
	return sortedNames(names)
}

// SecretKeys lists the values of secrets that the sources read.
func (f *MetricsFilter) SecretKeys() []SecretKey {
	var keys []SecretKey
	for i := range f.Sources {
		keys = append(keys, f.Sources[i].Kind.SecretKeys()...)
	}
	return keys
}

// MetricsFetch is one page.
type MetricsFetch struct {
	// URI is of http or https, unix:SOCKET:PATH, or file:///PATH where the source
	// is a document.
	URI     string
	Timeout time.Duration // never 0
	Headers map[string]string
	Auth    MetricsAuth
	TLS     *MetricsTLS // nil: as the system trusts
}

// SecretKeys implements MetricsKind.
func (f *MetricsFetch) SecretKeys() []SecretKey { return f.Auth.keys() }

// MetricsAuth is who the proxy is to a source; the zero value is nobody.
type MetricsAuth struct {
	Username string
	Password SecretKey
	Bearer   SecretKey
}

func (a *MetricsAuth) keys() []SecretKey {
	var keys []SecretKey
	if a.Password.Set() {
		keys = append(keys, a.Password)
	}
	if a.Bearer.Set() {
		keys = append(keys, a.Bearer)
	}
	return keys
}

// MetricsTLS names files of the proxy.
type MetricsTLS struct {
	CAFile             string // "": the system's authorities
	CertFile, KeyFile  string // both or none
	ServerName         string // "": the host that is connected to
	InsecureSkipVerify bool
}

// MetricsListen is where lines arrive.
type MetricsListen struct {
	UDP, TCP     string      // "IP:port", or ""
	Unixgram     string      // path, with a leading @ of the abstract namespace; or ""
	UnixgramMode fs.FileMode // 0: as the umask leaves it
	ReadBuffer   int         // 0: as the system has it
	TTL          time.Duration
}

// SecretKeys implements MetricsKind.
func (*MetricsListen) SecretKeys() []SecretKey { return nil }

// MetricsMapping is a mapping of statsd_exporter; the zero value maps nothing.
type MetricsMapping struct {
	File string
	Text string
}

// NginxStubStatusSource is a page of nginx' stub_status.
type NginxStubStatusSource struct{ MetricsFetch }

// PrometheusSource is what another exporter shows.
type PrometheusSource struct{ MetricsFetch }

// ExpvarSource is the page of Go's package expvar.
type ExpvarSource struct{ MetricsFetch }

// JSONSource is a document in JSON.
type JSONSource struct {
	MetricsFetch
	ConfigFile string // of json_exporter; "": Extract
	Module     string // of ConfigFile; never ""
	Extract    []Extraction
}

// XMLSource is a document in XML.
type XMLSource struct {
	MetricsFetch
	Extract []Extraction
}

// CSVSource is a table.
type CSVSource struct {
	MetricsFetch
	Delimiter byte
	Extract   []Extraction
}

// KeyValueSource is lines of keys and values.
type KeyValueSource struct {
	MetricsFetch
	Separator string // "": =, : or white space
	Extract   []Extraction
}

// JolokiaSource is an agent of Jolokia.
type JolokiaSource struct {
	MetricsFetch
	ExcludeJVM bool
	Beans      []JolokiaBean
}

// JolokiaBean is an MBean, or a pattern of such.
type JolokiaBean struct {
	MBean      string
	Attributes []string // empty: all that are numbers or booleans
	Name       string   // before the attribute's; "": domain and type
	Type       dto.MetricType
	Help       string
	Labels     map[string]string
}

// ServerSource is a server with statistics of its own.
type ServerSource struct {
	Address  string // host:port, or the path of a unix socket
	Database string
	Auth     MetricsAuth
	TLS      *MetricsTLS // nil: plain text
	Timeout  time.Duration
}

// SecretKeys implements MetricsKind.
func (s *ServerSource) SecretKeys() []SecretKey { return s.Auth.keys() }

// RedisSource is asked for INFO.
type RedisSource struct{ ServerSource }

// PostgresSource is asked for its statistics.
type PostgresSource struct{ ServerSource }

// MySQLSource is asked for its status.
type MySQLSource struct{ ServerSource }

// StatsDSource takes lines of StatsD.
type StatsDSource struct {
	MetricsListen
	Mapping        MetricsMapping
	Styles         statsdproto.Styles // of tags; 0: all
	MaxConnections int                // 0: the source's default
	IdleTimeout    time.Duration      // of a connection; 0: none
	Relay          string             // "host:port" to which lines are sent on; "": nowhere
	RelayPacket    int                // bytes of a datagram of it
}

// GraphiteSource takes lines of Graphite.
type GraphiteSource struct {
	MetricsListen
	Mapping MetricsMapping
}

// InfluxSource takes lines of InfluxDB.
type InfluxSource struct {
	MetricsListen
	HTTP string // "IP:port", or ""
}

// TextfileSource is a folder of files in Prometheus' text format.
type TextfileSource struct{ Path string }

// SecretKeys implements MetricsKind.
func (*TextfileSource) SecretKeys() []SecretKey { return nil }

// Extraction reads one metric from a document.
type Extraction struct {
	Name     string
	Path     string // of the places that become series
	Query    string // gojq, instead of Path
	Value    string // path beneath Path; "": that itself
	Labels   map[string]string
	Type     dto.MetricType // counter, gauge or untyped
	Help     string
	ValueMap map[string]float64 // by text; "*" is all others
	Scale    float64            // never 0
}

// MetricsRule changes metrics whose names match.
type MetricsRule struct {
	Match       string          // RE2 for the whole name; "": all
	MatchType   *dto.MetricType // nil: any
	MatchLabels map[string]string
	Drop        bool
	Name        string // may have $1; "": stays
	Labels      map[string]string
	Type        *dto.MetricType // nil: stays
	Help        string          // "": stays
	Unit        *UnitConversion
	Scale       float64 // never 0
	ValueMap    map[float64]float64
	TTL         time.Duration // 0: never
}

// UnitConversion makes one unit of another.
type UnitConversion struct {
	From, To      string // as names of metrics spell them
	Scale, Offset float64
}

// Relabeling is Prometheus' relabel_config, complete with its defaults.
type Relabeling struct {
	SourceLabels []string
	Separator    string
	Regex        string
	Modulus      uint64
	TargetLabel  string
	Replacement  string
	Action       string // in lower case, never ""
}
