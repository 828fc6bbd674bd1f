package translate

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	metricsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/metrics/v1"
	secretsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/secrets/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// metricsKind says what a source is. name is what the names of its secrets begin
// with.
func (t *translator) metricsKind(s *mesh.MetricsSource, p *metricsv1.Source, name string) {
	switch {
	case s.NginxStubStatus != nil:
		p.Kind = &metricsv1.Source_NginxStubStatus{NginxStubStatus: &metricsv1.NginxStubStatus{Fetch: t.fetch(s.NginxStubStatus, name)}}
	case s.Prometheus != nil:
		p.Kind = &metricsv1.Source_Prometheus{Prometheus: &metricsv1.Prometheus{Fetch: t.fetch(s.Prometheus, name)}}
	case s.Expvar != nil:
		p.Kind = &metricsv1.Source_Expvar{Expvar: &metricsv1.Expvar{Fetch: t.fetch(s.Expvar, name)}}
	case s.JSON != nil:
		p.Kind = &metricsv1.Source_Json{Json: &metricsv1.Json{
			Fetch: t.fetch(&s.JSON.HTTPSource, name), ConfigFile: s.JSON.ConfigFile, Module: s.JSON.Module, Extract: extractions(s.JSON.Extract),
		}}
	case s.XML != nil:
		p.Kind = &metricsv1.Source_Xml{Xml: &metricsv1.Xml{Fetch: t.fetch(&s.XML.HTTPSource, name), Extract: extractions(s.XML.Extract)}}
	case s.CSV != nil:
		p.Kind = &metricsv1.Source_Csv{Csv: &metricsv1.Csv{
			Fetch: t.fetch(&s.CSV.HTTPSource, name), Delimiter: s.CSV.Delimiter, Extract: extractions(s.CSV.Extract),
		}}
	case s.KeyValue != nil:
		p.Kind = &metricsv1.Source_KeyValue{KeyValue: &metricsv1.KeyValue{
			Fetch: t.fetch(&s.KeyValue.HTTPSource, name), Separator: s.KeyValue.Separator, Extract: extractions(s.KeyValue.Extract),
		}}
	case s.Jolokia != nil:
		p.Kind = &metricsv1.Source_Jolokia{Jolokia: t.jolokia(s.Jolokia, name)}
	case s.Redis != nil:
		p.Kind = &metricsv1.Source_Redis{Redis: t.server(s, name)}
	case s.Postgres != nil:
		p.Kind = &metricsv1.Source_Postgres{Postgres: t.server(s, name)}
	case s.MySQL != nil:
		p.Kind = &metricsv1.Source_Mysql{Mysql: t.server(s, name)}
	case s.StatsD != nil:
		p.Kind = &metricsv1.Source_Statsd{Statsd: &metricsv1.StatsD{
			Listen: eventListen(&s.StatsD.EventListen), Mapping: mapping(s.StatsD.MappingFile, s.StatsD.Mapping),
			Dialects: dialects(s.StatsD.Dialects), MaxConnections: s.StatsD.MaxConnections, IdleTimeout: lasting(s.StatsD.IdleTimeout),
			Relay: relay(s.StatsD.Relay),
		}}
	case s.Graphite != nil:
		p.Kind = &metricsv1.Source_Graphite{Graphite: &metricsv1.Graphite{
			Listen: eventListen(&s.Graphite.EventListen), Mapping: mapping(s.Graphite.MappingFile, s.Graphite.Mapping),
		}}
	case s.Influx != nil:
		p.Kind = &metricsv1.Source_Influx{Influx: &metricsv1.Influx{Listen: eventListen(&s.Influx.EventListen), Http: s.Influx.HTTP}}
	case s.Textfile != nil:
		p.Kind = &metricsv1.Source_Textfile{Textfile: &metricsv1.Textfile{Path: s.Textfile.Path}}
	}
}

func (t *translator) fetch(s *mesh.HTTPSource, name string) *metricsv1.Fetch {
	return &metricsv1.Fetch{
		Uri: s.URI, Timeout: lasting(s.Timeout), Headers: s.Headers, Auth: t.sourceAuth(s.Auth, name), Tls: sourceTLS(s.TLS),
	}
}

func (t *translator) sourceAuth(a *mesh.SourceAuth, name string) *metricsv1.Auth {
	if a == nil {
		return nil
	}
	return &metricsv1.Auth{
		Username:    a.Username,
		Password:    t.value(a.PasswordSecret, source("", a.PasswordFile, a.PasswordEnv), name+"/password"),
		BearerToken: t.value(a.BearerTokenSecret, source("", a.BearerTokenFile, a.BearerTokenEnv), name+"/bearer-token"),
	}
}

// value gives where something secret is: a key of a Secret, or a file or variable
// of the proxy, of which it makes a secret of the given name; nil: nowhere.
func (t *translator) value(ref *mesh.SecretKeyRef, d *corev3.DataSource, name string) *secretsv1.SecretKey {
	switch {
	case ref != nil:
		return t.keySecret(ref)
	case d != nil:
		t.genericSecret(name, d)
		return &secretsv1.SecretKey{Name: name}
	}
	return nil
}

func sourceTLS(s *mesh.SourceTLS) *metricsv1.Tls {
	if s == nil {
		return nil
	}
	return &metricsv1.Tls{
		CaFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile, ServerName: s.ServerName, InsecureSkipVerify: s.InsecureSkipVerify,
	}
}

func (t *translator) jolokia(s *mesh.JolokiaSource, name string) *metricsv1.Jolokia {
	p := &metricsv1.Jolokia{Fetch: t.fetch(&s.HTTPSource, name), ExcludeJvm: s.JVM == mesh.JVMMetricsExclude}
	for i := range s.Beans {
		b := &s.Beans[i]
		p.Beans = append(p.Beans, &metricsv1.Jolokia_Bean{
			Mbean: b.MBean, Attributes: b.Attributes, Name: b.Name, Type: metricType(b.Type), Help: b.Help, Labels: b.Labels,
		})
	}
	return p
}

func eventListen(l *mesh.EventListen) *metricsv1.Listen {
	p := &metricsv1.Listen{Address: l.Address, Udp: l.UDP, Tcp: l.TCP, Unixgram: l.Unixgram, UnixgramMode: uint32(l.UnixgramMode), Ttl: lasting(l.TTL)}
	if l.ReadBuffer != nil {
		p.ReadBuffer = wrapperspb.UInt64(uint64(*l.ReadBuffer))
	}
	return p
}

func relay(r *mesh.StatsDRelay) *metricsv1.StatsD_Relay {
	if r == nil {
		return nil
	}
	return &metricsv1.StatsD_Relay{Address: r.Address, PacketLength: r.PacketLength}
}

func dialects(list []mesh.StatsDDialect) []metricsv1.StatsD_Dialect {
	var out []metricsv1.StatsD_Dialect
	for _, d := range list {
		// The names differ by capitals alone; one that is not known was refused.
		out = append(out, metricsv1.StatsD_Dialect(metricsv1.StatsD_Dialect_value[strings.ToUpper(string(d))]))
	}
	return out
}

func mapping(file, text string) *metricsv1.Mapping {
	switch {
	case file != "":
		return &metricsv1.Mapping{Source: &metricsv1.Mapping_File{File: file}}
	case text != "":
		return &metricsv1.Mapping{Source: &metricsv1.Mapping_Text{Text: text}}
	}
	return nil
}

func metricType(t mesh.MetricType) metricsv1.MetricType {
	switch t {
	case mesh.MetricCounter:
		return metricsv1.MetricType_COUNTER
	case mesh.MetricGauge:
		return metricsv1.MetricType_GAUGE
	case mesh.MetricHistogram:
		return metricsv1.MetricType_HISTOGRAM
	case mesh.MetricSummary:
		return metricsv1.MetricType_SUMMARY
	case mesh.MetricUnknown:
		return metricsv1.MetricType_UNKNOWN
	}
	return metricsv1.MetricType_UNSPECIFIED
}

func extractions(list []mesh.Extraction) []*metricsv1.Extraction {
	var out []*metricsv1.Extraction
	for i := range list {
		x := &list[i]
		p := &metricsv1.Extraction{
			Name: x.Name, Path: x.Path, Query: x.Query, Value: x.Value, Labels: x.Labels, Type: metricType(x.Type), Help: x.Help, Scale: factor(x.Scale),
		}
		for text, v := range x.ValueMap {
			if p.ValueMap == nil {
				p.ValueMap = make(map[string]float64, len(x.ValueMap))
			}
			p.ValueMap[text] = v.Value()
		}
		out = append(out, p)
	}
	return out
}

func factor(n *mesh.Number) *wrapperspb.DoubleValue {
	if n == nil {
		return nil
	}
	return wrapperspb.Double(n.Value())
}

func metricsRules(list []mesh.MetricsRule) []*metricsv1.Rule {
	var out []*metricsv1.Rule
	for i := range list {
		r := &list[i]
		p := &metricsv1.Rule{
			Match: r.Match, MatchType: metricType(r.MatchType), MatchLabels: r.MatchLabels, Drop: r.Action == mesh.RuleDrop, Name: r.Name,
			Labels: r.Labels, Type: metricType(r.Type), Help: r.Help, Unit: unit(r.Unit), Scale: factor(r.Scale), Ttl: lasting(r.TTL),
		}
		for _, from := range sortedKeys(r.ValueMap) {
			p.ValueMap = append(p.ValueMap, &metricsv1.Rule_ValueMapping{From: mesh.Number(from).Value(), To: r.ValueMap[from].Value()})
		}
		out = append(out, p)
	}
	return out
}

// unit says how one unit becomes another, by way of the base of both.
func unit(u *mesh.UnitConversion) *metricsv1.Rule_Unit {
	if u == nil {
		return nil
	}
	base, scale, offset := u.From.Base()
	p := &metricsv1.Rule_Unit{From: string(u.From), To: string(base), Scale: scale, Offset: offset}
	if u.To != "" {
		_, back, shift := u.To.Base()
		p.To, p.Scale, p.Offset = string(u.To), scale/back, (offset-shift)/back
	}
	return p
}

func relabelings(list []mesh.Relabeling) []*metricsv1.Relabeling {
	var out []*metricsv1.Relabeling
	for i := range list {
		r := &list[i]
		p := &metricsv1.Relabeling{SourceLabels: r.SourceLabels, Regex: r.Regex, Modulus: r.Modulus, TargetLabel: r.TargetLabel, Action: string(r.Action)}
		if r.Separator != nil {
			p.Separator = wrapperspb.String(*r.Separator)
		}
		if r.Replacement != nil {
			p.Replacement = wrapperspb.String(*r.Replacement)
		}
		out = append(out, p)
	}
	return out
}
