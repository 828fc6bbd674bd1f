package mesh

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// metrics checks a MetricsAdapter.
func (c *checker) metrics(m *MetricsAdapter, at string) {
	c.metricsListen(&m.Listen, at+".listen")
	c.metricsSources(m, at+".sources")
	c.metricsRules(m.Rules, at+".rules")
	c.relabelings(m.Relabel, at+".relabel")
	if l := m.Limits; l != nil {
		c.atLeastOne(l.SeriesPerSource, at+".limits.seriesPerSource")
		c.require(l.BytesPerSource == nil || *l.BytesPerSource >= 1024 && *l.BytesPerSource <= 1<<30,
			at+".limits.bytesPerSource", "must be from 1Ki to 1Gi", "16Mi is the default")
	}
}

func (c *checker) metricsListen(l *MetricsListen, at string) {
	c.require(l.Port >= 1 && l.Port <= 65535, at+".port", "a port from 1 to 65535 is needed", "")
	c.require(l.Path == "" || isURLPath(l.Path), at+".path", "must be the path of a URL", "/metrics is the default")
	c.ipAddress(l.Address, at+".address")
}

func (c *checker) ipAddress(address, at string) {
	if _, err := netip.ParseAddr(address); address != "" && err != nil {
		c.fail(at, fmt.Sprintf("%q is not an IP address", clip(address)), "as in 127.0.0.1 or 0.0.0.0")
	}
}

func (c *checker) metricsSources(m *MetricsAdapter, at string) {
	c.require(len(m.Sources) > 0, at, "at least one is needed",
		`as in sources: [{name: nginx, nginxStubStatus: {uri: "http://localhost/nginx_status"}}]`)
	names, places := make(map[string]bool), make(map[string]bool)
	places[fmt.Sprintf("TCP port %d", m.Listen.Port)] = true
	for i := range m.Sources {
		s := &m.Sources[i]
		here := fmt.Sprintf("%s[%d]", at, i)
		c.require(IsDNSLabel(s.Name), here+".name", fmt.Sprintf("%q is not a name", clip(s.Name)),
			"use lower-case letters, digits and -")
		c.once(names, s.Name, here+".name")
		c.require(s.Prefix == "" || isMetricName(s.Prefix), here+".prefix",
			fmt.Sprintf("%q can not begin the name of a metric", clip(s.Prefix)), "letters, digits, _ and :")
		c.labels(s.Labels, here+".labels")
		c.metricsRules(s.Rules, here+".rules")
		c.relabelings(s.Relabel, here+".relabel")
		c.metricsSource(s, here)
		c.eventPlaces(s, places, here)
	}
}

// sourceKinds lists the fields of a source of which one says where the metrics
// are, and which are there.
func sourceKinds(s *MetricsSource) (names []string, there []bool) {
	for _, k := range []struct {
		name  string
		there bool
	}{
		{"nginxStubStatus", s.NginxStubStatus != nil},
		{"statsd", s.StatsD != nil},
		{"prometheus", s.Prometheus != nil},
		{"json", s.JSON != nil},
		{"xml", s.XML != nil},
		{"jolokia", s.Jolokia != nil},
		{"redis", s.Redis != nil},
		{"postgres", s.Postgres != nil},
		{"mysql", s.MySQL != nil},
		{"csv", s.CSV != nil},
		{"keyValue", s.KeyValue != nil},
		{"graphite", s.Graphite != nil},
		{"influx", s.Influx != nil},
		{"expvar", s.Expvar != nil},
		{"textfile", s.Textfile != nil},
	} {
		names, there = append(names, k.name), append(there, k.there)
	}
	return names, there
}

func (c *checker) metricsSource(s *MetricsSource, at string) {
	names, there := sourceKinds(s)
	c.require(count(there...) == 1, at, "must say in exactly one way where the metrics are", oneOf(names))
	c.httpSource(s.NginxStubStatus, at+".nginxStubStatus", false)
	c.httpSource(s.Prometheus, at+".prometheus", false)
	c.httpSource(s.Expvar, at+".expvar", false)
	if j := s.JSON; j != nil {
		c.httpSource(&j.HTTPSource, at+".json", true)
		c.require((j.ConfigFile != "") != (len(j.Extract) > 0), at+".json", "needs exactly one of configFile and extract",
			"name a configuration file of json_exporter, or say what is read")
		c.require(j.Module == "" || j.ConfigFile != "", at+".json.module", "goes with configFile only", "remove it")
		c.extractions(j.Extract, at+".json.extract", true)
	}
	if x := s.XML; x != nil {
		c.httpSource(&x.HTTPSource, at+".xml", true)
		c.require(len(x.Extract) > 0, at+".xml.extract", "is missing", "say what is read")
		c.extractions(x.Extract, at+".xml.extract", false)
	}
	if x := s.CSV; x != nil {
		c.httpSource(&x.HTTPSource, at+".csv", true)
		c.require(len(x.Delimiter) <= 1 && x.Delimiter != "\"" && x.Delimiter != "\n", at+".csv.delimiter", "must be one character", `"," is the default`)
		c.require(len(x.Extract) > 0, at+".csv.extract", "is missing", "say what is read")
		c.extractions(x.Extract, at+".csv.extract", false)
	}
	if x := s.KeyValue; x != nil {
		c.httpSource(&x.HTTPSource, at+".keyValue", true)
		c.extractions(x.Extract, at+".keyValue.extract", false)
	}
	if s.Jolokia != nil {
		c.jolokia(s.Jolokia, at+".jolokia")
	}
	c.serverSource(s.Redis, at+".redis")
	c.serverSource(s.Postgres, at+".postgres")
	c.serverSource(s.MySQL, at+".mysql")
	if s.Redis != nil {
		c.require(s.Redis.Database == "", at+".redis.database", "does not go with redis", "remove it")
	}
	if s.Textfile != nil {
		c.require(strings.HasPrefix(s.Textfile.Path, "/"), at+".textfile.path", "must be the absolute path of a folder", "")
	}
}

func (c *checker) jolokia(j *JolokiaSource, at string) {
	c.httpSource(&j.HTTPSource, at, false)
	c.require(j.JVM != JVMMetricsExclude || len(j.Beans) > 0, at, "reads nothing", "name beans, or leave jvm out")
	for i := range j.Beans {
		b := &j.Beans[i]
		here := fmt.Sprintf("%s.beans[%d]", at, i)
		domain, properties, ok := strings.Cut(b.MBean, ":")
		c.require(ok && domain != "" && strings.Contains(properties, "="), here+".mbean", fmt.Sprintf("%q is not the name of an MBean", clip(b.MBean)),
			`as in "java.lang:type=Memory"`)
		c.require(b.Name == "" || isMetricName(b.Name), here+".name", fmt.Sprintf("%q can not begin the name of a metric", clip(b.Name)), "letters, digits, _ and :")
		c.require(b.Type != MetricHistogram && b.Type != MetricSummary, here+".type", "must be counter, gauge or unknown", "")
		c.labels(b.Labels, here+".labels")
		for k, a := range b.Attributes {
			c.require(a != "", fmt.Sprintf("%s.attributes[%d]", here, k), "is empty", "")
		}
	}
}

// httpSource does not repeat the URI: it may hold what is secret.
func (c *checker) httpSource(s *HTTPSource, at string, file bool) {
	if s == nil {
		return
	}
	c.uri(s.URI, at+".uri", file)
	c.positive(s.Timeout, at+".timeout")
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		here := join(at+".headers", name)
		c.require(isHeaderName(name), here, "is not the name of a header", "")
		c.require(!strings.ContainsAny(s.Headers[name], "\r\n\x00"), here, "has a line break", "")
	}
	c.sourceAuth(s.Auth, at+".auth")
	if s.Auth != nil {
		_, hasHeader := s.Headers["Authorization"]
		c.require(!hasHeader, at+".headers.Authorization", "is there besides auth", "remove one")
	}
	c.sourceTLS(s.TLS, at+".tls")
	c.require(s.TLS == nil || s.URI == "" || strings.HasPrefix(s.URI, "https:"), at+".tls", "goes with https only", "remove it")
}

func (c *checker) uri(uri, at string, file bool) {
	const example = "as in http://localhost:8080/status"
	if path, ok := strings.CutPrefix(uri, "unix:"); ok {
		socket, _, _ := strings.Cut(path, ":")
		c.require(isSocketPath(socket), at, "must be the path of a unix socket, and that of the page after a colon", "as in unix:/run/app.sock:/status")
		return
	}
	if path, ok := strings.CutPrefix(uri, "file://"); ok {
		c.require(file, at, "must not be a file", example)
		c.require(strings.HasPrefix(path, "/") && !strings.ContainsAny(path, "?#"), at, "must have three slashes and an absolute path", "as in file:///run/app/stats")
		return
	}
	u, err := url.Parse(uri)
	switch {
	case uri == "":
		c.fail(at, "is missing", example)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(uri, " #"):
		c.fail(at, "must be a URL of http or https, without a fragment", example)
	case u.User != nil || strings.Contains(u.Host, "@"):
		c.fail(at, "must not hold a user name or a password", "write them into auth")
	}
}

func (c *checker) sourceAuth(a *SourceAuth, at string) {
	if a == nil {
		return
	}
	passwords := count(a.PasswordFile != "", a.PasswordEnv != "", a.PasswordSecret != nil)
	tokens := count(a.BearerTokenFile != "", a.BearerTokenEnv != "", a.BearerTokenSecret != nil)
	c.require(passwords+tokens <= 1, at, "has several passwords or tokens", "keep one")
	c.require(passwords+tokens > 0 || a.Username != "", at, "is empty", "set a username and a password, or a bearer token")
	c.require(tokens == 0 || a.Username == "", at+".username", "does not go with a bearer token", "remove it")
	for name, k := range map[string]*SecretKeyRef{".passwordSecret": a.PasswordSecret, ".bearerTokenSecret": a.BearerTokenSecret} {
		if k != nil {
			c.secret(k.Name, at+name, "use a file or a variable")
			c.dataKey(k.Key, at+name+".key")
		}
	}
}

func (c *checker) sourceTLS(t *SourceTLS, at string) {
	if t == nil {
		return
	}
	c.keyPair(at, t.CertFile, t.KeyFile, nil, false)
	c.require(!t.InsecureSkipVerify || t.CAFile == "", at+".caFile", "has no use if any certificate is taken", "remove insecureSkipVerify")
}

// eventPlaces checks where lines are taken; places are those that are taken
// already.
func (c *checker) eventPlaces(s *MetricsSource, places map[string]bool, at string) {
	if d := s.StatsD; d != nil {
		c.eventListen(&d.EventListen, 0, places, at+".statsd")
		c.mapping(d.MappingFile, d.Mapping, at+".statsd")
		c.statsd(d, at+".statsd")
	}
	if g := s.Graphite; g != nil {
		c.eventListen(&g.EventListen, 0, places, at+".graphite")
		c.mapping(g.MappingFile, g.Mapping, at+".graphite")
	}
	if i := s.Influx; i != nil {
		c.eventListen(&i.EventListen, i.HTTP, places, at+".influx")
		if i.HTTP != 0 {
			c.port(i.HTTP, "TCP", places, at+".influx.http")
		}
	}
}

func (c *checker) statsd(d *StatsDSource, at string) {
	seen := map[StatsDDialect]bool{}
	for i, dialect := range d.Dialects {
		c.require(!seen[dialect], fmt.Sprintf("%s.dialects[%d]", at, i), "is there twice", "remove one")
		seen[dialect] = true
	}
	c.require(d.MaxConnections <= 100_000, at+".maxConnections", "must be at most 100000", "")
	c.require(d.TCP != 0 || d.MaxConnections == 0 && d.IdleTimeout == nil, at+".tcp", "is missing, so that there are no connections", "name a port, or leave maxConnections and idleTimeout out")
	c.positive(d.IdleTimeout, at+".idleTimeout")
	if r := d.Relay; r != nil {
		_, _, path, err := SplitAddress(r.Address)
		c.require(err == nil && path == "", at+".relay.address", "must be a host and a port", `as in "statsd:8125"`)
		c.require(r.PacketLength == 0 || r.PacketLength >= 2 && r.PacketLength <= 65507, at+".relay.packetLength", "must be from 2 to 65507", "1400 is the default")
	}
}

func (c *checker) mapping(file, text, at string) {
	c.require(file == "" || text == "", at+".mapping", "is there twice, as text and as file", "remove one")
	_, errs := mapping.Parse("mapping", []byte(text))
	for _, err := range errs {
		c.fail(at+".mapping", err.Error(), "")
	}
}

func (c *checker) eventListen(l *EventListen, other uint32, places map[string]bool, at string) {
	c.require(l.UDP != 0 || l.TCP != 0 || l.Unixgram != "" || other != 0, at, "needs a place to listen", oneOf([]string{"udp", "tcp", "unixgram"}))
	c.ipAddress(l.Address, at+".address")
	if l.UDP != 0 {
		c.port(l.UDP, "UDP", places, at+".udp")
	}
	if l.TCP != 0 {
		c.port(l.TCP, "TCP", places, at+".tcp")
	}
	if l.Unixgram != "" {
		c.require(isSocketPath(l.Unixgram), at+".unixgram", "must be absolute (or begin with @) and at most 107 bytes", "")
		c.once(places, l.Unixgram, at+".unixgram")
	}
	c.require(l.UnixgramMode == 0 || strings.HasPrefix(l.Unixgram, "/"), at+".unixgramMode", "goes with a unixgram that has a path", "remove it")
	c.require(l.ReadBuffer == nil || *l.ReadBuffer <= 1<<30, at+".readBuffer", "must be at most 1Gi", "")
	c.positive(l.TTL, at+".ttl")
}

func (c *checker) port(port uint32, protocol string, places map[string]bool, at string) {
	c.require(port <= 65535, at, "must be a port from 1 to 65535", "")
	c.once(places, fmt.Sprintf("%s port %d", protocol, port), at)
}

// labels checks names and values that are given to series.
func (c *checker) labels(labels map[string]string, at string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		c.require(isLabelName(name), join(at, name), "is not the name of a label", "letters, digits and _, not two _ at the start")
	}
}

func (c *checker) pattern(text, at string) *regexp.Regexp {
	re, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		c.fail(at, "is not a regular expression: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "the syntax is RE2's")
		return nil
	}
	return re
}

// isMetricName reports whether s is a name of a metric of the classic form.
func isMetricName(s string) bool { return isIdentifier(strings.ReplaceAll(s, ":", "_")) }

// isLabelName reports whether a document may give series a label of this name.
func isLabelName(s string) bool { return isIdentifier(s) && !strings.HasPrefix(s, "__") }
