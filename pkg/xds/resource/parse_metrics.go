package resource

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/anypb"

	metricsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/metrics/v1"
	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

// maxMetricsSources bounds what one request sets going.
const maxMetricsSources = 256

func (r *reader) metricsFilter(packed *anypb.Any, path string) *MetricsFilter {
	f := &MetricsFilter{}
	var p metricsv1.Metrics
	if !r.unpack(packed, &p, path) {
		return f
	}
	f.Path = cmp.Or(p.GetPath(), DefaultMetricsPath)
	if !strings.HasPrefix(f.Path, "/") || strings.ContainsAny(f.Path, " ?#") {
		r.fail(join(path, "path"), "is not the path of a URL")
	}
	f.SeriesPerSource = r.atLeast(p.GetSeriesPerSource(), join(path, "series_per_source"), DefaultSeriesPerSource, 1)
	f.BytesPerSource = DefaultBytesPerSource
	if v := p.GetBytesPerSource(); v != nil {
		f.BytesPerSource = int64(min(v.GetValue(), 1<<30))
		if v.GetValue() < 1024 || v.GetValue() > 1<<30 {
			r.fail(join(path, "bytes_per_source"), "must be from 1024 to 2^30")
		}
	}
	f.MinInterval = r.duration(p.GetMinInterval(), join(path, "min_interval"), DefaultMetricsInterval)
	f.ExcludeProxy = p.GetExcludeProxy()
	f.Rules = r.metricsRules(p.GetRules(), join(path, "rules"))
	f.Relabel = r.relabelings(p.GetRelabel(), join(path, "relabel"))
	if n := len(p.GetSources()); n == 0 || n > maxMetricsSources {
		r.fail(join(path, "sources"), "must be from 1 to %d", maxMetricsSources)
	}
	seen := make(map[string]bool)
	for i, s := range p.GetSources() {
		at := index(join(path, "sources"), i)
		if s.GetName() == "" || seen[s.GetName()] {
			r.fail(join(at, "name"), "%q is missing or there twice", s.GetName())
		}
		seen[s.GetName()] = true
		f.Sources = append(f.Sources, r.metricsSource(s, at))
	}
	return f
}

func (r *reader) metricsSource(p *metricsv1.Source, path string) MetricsSource {
	s := MetricsSource{
		Name:    p.GetName(),
		Prefix:  p.GetPrefix(),
		Labels:  r.labels(p.GetLabels(), join(path, "labels")),
		Rules:   r.metricsRules(p.GetRules(), join(path, "rules")),
		Relabel: r.relabelings(p.GetRelabel(), join(path, "relabel")),
	}
	if s.Prefix != "" && !isMetricName(s.Prefix) {
		r.fail(join(path, "prefix"), "%q can not begin the name of a metric", s.Prefix)
	}
	s.Kind = r.metricsKind(p, path)
	return s
}

// metricsKind reads what a source is.
func (r *reader) metricsKind(p *metricsv1.Source, path string) MetricsKind {
	switch k := p.GetKind().(type) {
	case *metricsv1.Source_NginxStubStatus:
		return &NginxStubStatusSource{r.fetch(k.NginxStubStatus.GetFetch(), join(path, "nginx_stub_status.fetch"), false)}
	case *metricsv1.Source_Prometheus:
		return &PrometheusSource{r.fetch(k.Prometheus.GetFetch(), join(path, "prometheus.fetch"), false)}
	case *metricsv1.Source_Expvar:
		return &ExpvarSource{r.fetch(k.Expvar.GetFetch(), join(path, "expvar.fetch"), false)}
	case *metricsv1.Source_Json:
		return r.jsonSource(k.Json, join(path, "json"))
	case *metricsv1.Source_Xml:
		path = join(path, "xml")
		return &XMLSource{r.fetch(k.Xml.GetFetch(), join(path, "fetch"), true), r.extractions(k.Xml.GetExtract(), join(path, "extract"), true)}
	case *metricsv1.Source_Csv:
		path = join(path, "csv")
		d := cmp.Or(k.Csv.GetDelimiter(), ",")
		if len(d) != 1 || strings.Contains("\"\r\n", d) {
			r.fail(join(path, "delimiter"), "must be one character")
		}
		return &CSVSource{r.fetch(k.Csv.GetFetch(), join(path, "fetch"), true), d[0], r.extractions(k.Csv.GetExtract(), join(path, "extract"), true)}
	case *metricsv1.Source_KeyValue:
		path = join(path, "key_value")
		return &KeyValueSource{
			r.fetch(k.KeyValue.GetFetch(), join(path, "fetch"), true), k.KeyValue.GetSeparator(),
			r.extractions(k.KeyValue.GetExtract(), join(path, "extract"), false),
		}
	case *metricsv1.Source_Jolokia:
		return r.jolokia(k.Jolokia, join(path, "jolokia"))
	case *metricsv1.Source_Redis:
		return &RedisSource{r.server(k.Redis, join(path, "redis"))}
	case *metricsv1.Source_Postgres:
		return &PostgresSource{r.server(k.Postgres, join(path, "postgres"))}
	case *metricsv1.Source_Mysql:
		return &MySQLSource{r.server(k.Mysql, join(path, "mysql"))}
	case *metricsv1.Source_Statsd:
		path = join(path, "statsd")
		return r.statsd(k.Statsd, path)
	case *metricsv1.Source_Graphite:
		path = join(path, "graphite")
		return &GraphiteSource{r.eventListen(k.Graphite.GetListen(), 0, join(path, "listen")), mapping(k.Graphite.GetMapping())}
	case *metricsv1.Source_Influx:
		path = join(path, "influx")
		port := k.Influx.GetHttp()
		return &InfluxSource{
			r.eventListen(k.Influx.GetListen(), port, join(path, "listen")),
			r.portOf(k.Influx.GetListen(), port, join(path, "http")),
		}
	case *metricsv1.Source_Textfile:
		if !strings.HasPrefix(k.Textfile.GetPath(), "/") {
			r.fail(join(path, "textfile.path"), "must be absolute")
		}
		return &TextfileSource{k.Textfile.GetPath()}
	}
	r.fail(path, "does not say what the source is")
	return &TextfileSource{}
}

func (r *reader) jsonSource(p *metricsv1.Json, path string) *JSONSource {
	s := &JSONSource{
		MetricsFetch: r.fetch(p.GetFetch(), join(path, "fetch"), true),
		ConfigFile:   p.GetConfigFile(), Module: cmp.Or(p.GetModule(), DefaultJSONModule),
		Extract: r.extractions(p.GetExtract(), join(path, "extract"), false),
	}
	if (s.ConfigFile != "") == (len(s.Extract) > 0) {
		r.fail(path, "needs exactly one of config_file and extract")
	}
	return s
}

func (r *reader) jolokia(p *metricsv1.Jolokia, path string) *JolokiaSource {
	s := &JolokiaSource{MetricsFetch: r.fetch(p.GetFetch(), join(path, "fetch"), false), ExcludeJVM: p.GetExcludeJvm()}
	for i, b := range p.GetBeans() {
		at := index(join(path, "beans"), i)
		bean := JolokiaBean{
			MBean: b.GetMbean(), Attributes: b.GetAttributes(), Name: b.GetName(), Help: b.GetHelp(),
			Type: dto.MetricType_GAUGE, Labels: r.labels(b.GetLabels(), join(at, "labels")),
		}
		if t := r.metricType(b.GetType(), join(at, "type"), false); t != nil {
			bean.Type = *t
		}
		if domain, properties, ok := strings.Cut(bean.MBean, ":"); !ok || domain == "" || properties == "" {
			r.fail(join(at, "mbean"), "%q is not the name of an MBean", bean.MBean)
		}
		s.Beans = append(s.Beans, bean)
	}
	return s
}

func (r *reader) fetch(p *metricsv1.Fetch, path string, file bool) MetricsFetch {
	f := MetricsFetch{
		URI:     p.GetUri(),
		Timeout: r.positive(p.GetTimeout(), join(path, "timeout"), DefaultFetchTimeout),
		Headers: p.GetHeaders(),
		Auth:    r.metricsAuth(p.GetAuth(), join(path, "auth")),
		TLS:     r.metricsTLS(p.GetTls(), join(path, "tls")),
	}
	scheme, rest, _ := strings.Cut(f.URI, ":")
	switch {
	case scheme == "http" || scheme == "https":
		if !strings.HasPrefix(rest, "//") || len(rest) < 3 {
			r.fail(join(path, "uri"), "is not a URL")
		}
	case scheme == "unix" && rest != "":
	case scheme == "file" && file && strings.HasPrefix(rest, "///"):
	default:
		r.fail(join(path, "uri"), "is missing, or of a kind that is not fetched")
	}
	return f
}

func (r *reader) metricsAuth(p *metricsv1.Auth, path string) MetricsAuth {
	a := MetricsAuth{Username: p.GetUsername()}
	if k := p.GetPassword(); k != nil {
		a.Password = r.secretKey(k, join(path, "password"))
	}
	if k := p.GetBearerToken(); k != nil {
		a.Bearer = r.secretKey(k, join(path, "bearer_token"))
		if a.Username != "" || a.Password.Set() {
			r.fail(join(path, "bearer_token"), "does not go with a user name or a password")
		}
	}
	return a
}

func (r *reader) metricsTLS(p *metricsv1.Tls, path string) *MetricsTLS {
	if p == nil {
		return nil
	}
	if (p.GetCertFile() == "") != (p.GetKeyFile() == "") {
		r.fail(path, "needs both cert_file and key_file, or none")
	}
	return &MetricsTLS{
		CAFile: p.GetCaFile(), CertFile: p.GetCertFile(), KeyFile: p.GetKeyFile(),
		ServerName: p.GetServerName(), InsecureSkipVerify: p.GetInsecureSkipVerify(),
	}
}

func (r *reader) server(p *metricsv1.Server, path string) ServerSource {
	if p.GetAddress() == "" {
		r.fail(join(path, "address"), "is missing")
	}
	return ServerSource{
		Address: p.GetAddress(), Database: p.GetDatabase(),
		Auth: r.metricsAuth(p.GetAuth(), join(path, "auth")), TLS: r.metricsTLS(p.GetTls(), join(path, "tls")),
		Timeout: r.positive(p.GetTimeout(), join(path, "timeout"), DefaultFetchTimeout),
	}
}

// DefaultRelayPacket is how long a datagram of lines becomes that are sent on: it
// fits into a frame of Ethernet. maxDatagram is as long as UDP has them.
const (
	DefaultRelayPacket = 1400
	maxDatagram        = 65507
)

func (r *reader) statsd(p *metricsv1.StatsD, path string) *StatsDSource {
	s := &StatsDSource{
		MetricsListen: r.eventListen(p.GetListen(), 0, join(path, "listen")), Mapping: mapping(p.GetMapping()),
		IdleTimeout: r.duration(p.GetIdleTimeout(), join(path, "idle_timeout"), 0),
	}
	const mostConnections = 100_000
	if n := p.GetMaxConnections(); n <= mostConnections {
		s.MaxConnections = int(n)
	} else {
		r.fail(join(path, "max_connections"), "must be at most %d", mostConnections)
	}
	if relay := p.GetRelay(); relay != nil {
		s.Relay, s.RelayPacket = relay.GetAddress(), int(cmp.Or(relay.GetPacketLength(), DefaultRelayPacket))
		if _, _, err := net.SplitHostPort(s.Relay); err != nil {
			r.fail(join(path, "relay.address"), "is not an address: %v", err)
		}
		if s.RelayPacket < 2 || s.RelayPacket > maxDatagram {
			r.fail(join(path, "relay.packet_length"), "must be between 2 and %d", maxDatagram)
		}
	}
	styles := map[metricsv1.StatsD_Dialect]statsdproto.Styles{
		metricsv1.StatsD_DOGSTATSD: statsdproto.Datadog, metricsv1.StatsD_INFLUXDB: statsdproto.Influx,
		metricsv1.StatsD_LIBRATO: statsdproto.Librato, metricsv1.StatsD_SIGNALFX: statsdproto.SignalFX,
	}
	for i, d := range p.GetDialects() {
		style, ok := styles[d]
		if !ok {
			r.fail(join(path, fmt.Sprintf("dialects[%d]", i)), "is not known: %v", d)
		}
		s.Styles |= style
	}
	return s
}

func (r *reader) eventListen(p *metricsv1.Listen, other uint32, path string) MetricsListen {
	l := MetricsListen{
		UDP: r.portOf(p, p.GetUdp(), join(path, "udp")), TCP: r.portOf(p, p.GetTcp(), join(path, "tcp")), Unixgram: p.GetUnixgram(),
		TTL: r.duration(p.GetTtl(), join(path, "ttl"), 0),
	}
	switch v := p.GetReadBuffer(); {
	case v == nil:
		l.ReadBuffer = DefaultReadBuffer
	case v.GetValue() <= 1<<30:
		l.ReadBuffer = int(v.GetValue())
	default:
		r.fail(join(path, "read_buffer"), "must be at most 2^30")
	}
	l.UnixgramMode = fs.FileMode(p.GetUnixgramMode())
	if l.UnixgramMode != 0 && (l.UnixgramMode&^fs.ModePerm != 0 || l.Unixgram == "" || l.Unixgram[0] == '@') {
		r.fail(join(path, "unixgram_mode"), "must be permission bits of a socket with a path")
	}
	if n := len(l.Unixgram); n == 1 || n > 107 || n > 0 && l.Unixgram[0] != '/' && l.Unixgram[0] != '@' {
		r.fail(join(path, "unixgram"), "must be absolute (or begin with @) and at most 107 bytes")
	}
	if l.UDP == "" && l.TCP == "" && l.Unixgram == "" && other == 0 {
		r.fail(path, "names no place")
	}
	return l
}

// portOf gives the address of a port of p; "" for port 0.
func (r *reader) portOf(p *metricsv1.Listen, port uint32, path string) string {
	if port == 0 {
		return ""
	}
	ip, err := netip.ParseAddr(cmp.Or(p.GetAddress(), "127.0.0.1"))
	if err != nil {
		r.fail(path, "has no IP address beside it: %q", p.GetAddress())
	}
	if port > math.MaxUint16 {
		r.fail(path, "must be at most 65535")
	}
	return netip.AddrPortFrom(ip, uint16(port&math.MaxUint16)).String()
}

func mapping(p *metricsv1.Mapping) MetricsMapping {
	return MetricsMapping{File: p.GetFile(), Text: p.GetText()}
}

// metricType gives nil for one that is not said.
func (r *reader) metricType(t metricsv1.MetricType, path string, composed bool) *dto.MetricType {
	switch t {
	case metricsv1.MetricType_UNSPECIFIED:
		return nil
	case metricsv1.MetricType_COUNTER:
		return dto.MetricType_COUNTER.Enum()
	case metricsv1.MetricType_GAUGE:
		return dto.MetricType_GAUGE.Enum()
	case metricsv1.MetricType_UNKNOWN:
		return dto.MetricType_UNTYPED.Enum()
	case metricsv1.MetricType_HISTOGRAM:
		if composed {
			return dto.MetricType_HISTOGRAM.Enum()
		}
	case metricsv1.MetricType_SUMMARY:
		if composed {
			return dto.MetricType_SUMMARY.Enum()
		}
	}
	r.fail(path, "%v is not a type that can be had", t)
	return nil
}

// labels checks names that are given to series.
func (r *reader) labels(labels map[string]string, path string) map[string]string {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !isMetricName(name) || strings.HasPrefix(name, "__") || strings.Contains(name, ":") {
			r.fail(path, "%q is not the name of a label", name)
		}
	}
	return labels
}

// pattern checks a regular expression for the whole of a text.
func (r *reader) pattern(text, path string) string {
	if _, err := regexp.Compile("^(?s:" + text + ")$"); err != nil {
		r.fail(path, "%v", err)
	}
	return text
}

// isMetricName reports whether s is a name of a metric in its classic form.
func isMetricName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c == ':' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
