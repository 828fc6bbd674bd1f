// Package nutcracker serves the statistics port of twemproxy: whoever connects
// gets one JSON object, and the connection is closed.
//
// The numbers come from the proxy's own metrics. Keys for which there is no
// such metric (fragments, bytes, queues) are left out rather than invented.
package nutcracker

import (
	"encoding/json"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/twemproxy"
)

// Version is the one of nutcracker that is spoken.
const Version = "0.5.0"

// Pool is a pool of the configuration and what it is called in the metrics.
type Pool struct {
	Name     string
	Listener string
	Cluster  string
	Servers  []string // the names that are hashed, which are the shards'
}

// Pools names the pools of a configuration as their objects name them.
func Pools(cfg *twemproxy.Config, namespace string) []Pool {
	names := twemproxy.Names(cfg)
	pools := make([]Pool, len(cfg.Pools))
	for i := range cfg.Pools {
		key := namespace + "/" + names[i]
		pools[i] = Pool{Name: cfg.Pools[i].Name, Listener: key, Cluster: key + "/" + twemproxy.Environment}
		for _, s := range cfg.Pools[i].Servers {
			pools[i].Servers = append(pools[i].Servers, s.HashName())
		}
	}
	return pools
}

// Header is the part of the object that is about the process.
type Header struct {
	Source    string // the host's name
	Uptime    int64  // seconds
	Timestamp int64  // seconds since 1970
}

// Append appends the object that nutcracker would send, with its line break.
func Append(b []byte, h Header, pools []Pool, families []*dto.MetricFamily) []byte {
	m := index(families)
	var total, current float64
	for _, p := range pools {
		total += m.of("dragoman_redis_downstream_connections_total", p.Listener)
		current += m.of("dragoman_redis_downstream_connections", p.Listener)
		for _, s := range p.Servers {
			total += m.of("dragoman_redis_upstream_connects_total", p.Cluster, s)
			current += m.of("dragoman_redis_upstream_connections", p.Cluster, s)
		}
	}
	o := object{b: append(b, '{')}
	o.text("service", "nutcracker")
	o.text("source", h.Source)
	o.text("version", Version)
	o.number("uptime", float64(h.Uptime))
	o.number("timestamp", float64(h.Timestamp))
	o.number("total_connections", total)
	o.number("curr_connections", current)
	for _, p := range pools {
		o.begin(p.Name)
		o.pool(m, p)
		o.end()
	}
	return append(o.b, "}\n"...)
}

func (o *object) pool(m metrics, p Pool) {
	accepted := m.of("dragoman_redis_downstream_connections_total", p.Listener)
	active := m.of("dragoman_redis_downstream_connections", p.Listener)
	failed := m.of("dragoman_redis_downstream_errors_total", p.Listener)
	o.number("client_eof", max(accepted-active-failed, 0))
	o.number("client_err", failed)
	o.number("client_connections", active)
	o.number("server_ejects", m.of("dragoman_cluster_ejections_total", p.Cluster))
	forward := 0.0
	for _, s := range p.Servers {
		for _, name := range []string{"refused", "overflows", "timeouts"} {
			forward += m.of("dragoman_redis_upstream_"+name+"_total", p.Cluster, s)
		}
	}
	o.number("forward_error", forward)
	for _, s := range p.Servers {
		of := func(name string) float64 { return m.of("dragoman_redis_upstream_"+name, p.Cluster, s) }
		o.begin(s)
		o.number("server_eof", of("disconnects_total"))
		o.number("server_err", of("connect_failures_total"))
		o.number("server_timedout", of("timeouts_total"))
		o.number("server_connections", of("connections"))
		o.number("requests", of("requests_total")+of("timeouts_total"))
		o.number("responses", of("requests_total"))
		o.end()
	}
}

// object writes JSON in nutcracker's order and spacing.
type object struct {
	b     []byte
	comma bool
}

func (o *object) key(k string) {
	if o.comma {
		o.b = append(o.b, ", "...)
	}
	o.comma = true
	o.b = appendString(o.b, k)
	o.b = append(o.b, ": "...)
}

func (o *object) text(k, v string) {
	o.key(k)
	o.b = appendString(o.b, v)
}

func appendString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

func (o *object) number(k string, v float64) {
	o.key(k)
	o.b = strconv.AppendFloat(o.b, v, 'f', 0, 64)
}

func (o *object) begin(k string) {
	o.key(k)
	o.b = append(o.b, '{')
	o.comma = false
}

func (o *object) end() {
	o.b = append(o.b, '}')
	o.comma = true
}

// metrics finds values by name, listener or cluster, and shard.
type metrics map[[3]string]float64

func (m metrics) of(name string, labels ...string) float64 {
	k := [3]string{name}
	copy(k[1:], labels)
	return m[k]
}

// index adds up what differs only in other labels, such as the endpoint.
func index(families []*dto.MetricFamily) metrics {
	m := metrics{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "dragoman_redis_") && !strings.HasPrefix(f.GetName(), "dragoman_cluster_") {
			continue
		}
		for _, s := range f.GetMetric() {
			k := [3]string{f.GetName()}
			for _, l := range s.GetLabel() {
				switch l.GetName() {
				case "listener", "cluster":
					k[1] = l.GetValue()
				case "shard":
					k[2] = l.GetValue()
				}
			}
			m[k] += s.GetCounter().GetValue() + s.GetGauge().GetValue()
		}
	}
	return m
}
