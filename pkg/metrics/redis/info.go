package redis

import (
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
)

// Info adds the metrics of a reply to INFO.
func Info(b *families.Builder, info string) {
	p := parser{b: b, names: names(), fields: make(map[string]string)}
	section := ""
	for line := range strings.Lines(info) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "#"); ok {
			section = strings.ToLower(strings.TrimSpace(title))
			continue
		}
		if field, value, ok := strings.Cut(line, ":"); ok && field != "" {
			p.field(section, field, value)
		}
	}
	p.finish()
}

type parser struct {
	b      *families.Builder
	names  map[string]named
	fields map[string]string // texts that are needed at the end
}

func (p *parser) field(section, field, value string) {
	switch {
	case section == "keyspace" && strings.HasPrefix(field, "db"):
		p.database(field, value)
	case strings.HasPrefix(field, "cmdstat_"):
		p.command(strings.TrimPrefix(field, "cmdstat_"), value)
	case strings.HasPrefix(field, "latency_percentiles_usec_"):
		p.latency(strings.TrimPrefix(field, "latency_percentiles_usec_"), value)
	case strings.HasPrefix(field, "errorstat_"):
		if n, ok := float(pairs(value)["count"]); ok {
			p.b.Counter("redis_errors_total", "Total number of errors per error type", n, "err", strings.TrimPrefix(field, "errorstat_"))
		}
	case section == "replication" && strings.HasPrefix(field, "slave") && strings.Contains(value, "ip="):
		p.replica(strings.TrimPrefix(field, "slave"), value)
	default:
		p.plain(field, value)
	}
}

// plain adds a field that is a number; of the others some are kept.
func (p *parser) plain(field, value string) {
	switch field {
	case "redis_version", "redis_mode", "os", "role", "tcp_port", "process_id", "run_id", "maxmemory_policy", "redis_build_id",
		"master_host", "master_port", "master_link_status", "slave_read_only":
		p.fields[field] = value
	}
	switch field {
	case "tcp_port", "run_id", "redis_git_sha1", "redis_git_dirty", "redis_build_id", "arch_bits", "gcc_version",
		"hz", "configured_hz", "lru_clock", "server_time_usec", "executable", "uptime_in_days", "master_port", "redis_version", "slave_read_only":
		return // an identity, or a configuration, and no quantity
	case "rdb_last_bgsave_status", "aof_last_bgrewrite_status", "aof_last_write_status":
		p.b.Gauge("redis_"+field, "", truth(value == "ok"))
		return
	}
	n, ok := float(value)
	if !ok {
		return
	}
	known := p.names[field]
	if known.metric == "" {
		known.metric = families.Name(field)
	}
	if known.per != 0 {
		n /= known.per
	}
	help := known.metric + " metric"
	if known.counter {
		p.b.Counter("redis_"+known.metric, help, n)
	} else {
		p.b.Gauge("redis_"+known.metric, help, n)
	}
}

// finish adds what is made of several fields.
func (p *parser) finish() {
	f := p.fields
	p.b.Gauge("redis_instance_info", "Information about the Redis instance", 1,
		"maxmemory_policy", f["maxmemory_policy"], "os", f["os"], "process_id", f["process_id"], "redis_build_id", f["redis_build_id"], "redis_mode", f["redis_mode"],
		"redis_version", f["redis_version"], "role", f["role"], "run_id", f["run_id"], "tcp_port", f["tcp_port"])
	if host := f["master_host"]; host != "" {
		p.b.Gauge("redis_master_link_up", "Master link status on Redis slave", truth(f["master_link_status"] == "up"),
			"master_host", host, "master_port", f["master_port"])
		p.b.Gauge("redis_slave_info", "Information about the Redis slave", 1,
			"master_host", host, "master_port", f["master_port"], "read_only", f["slave_read_only"])
	}
}

// database is db0:keys=1,expires=0,avg_ttl=0.
func (p *parser) database(name, value string) {
	kv := pairs(value)
	for _, m := range []struct {
		field, metric, help string
		per                 float64
	}{
		{"keys", "redis_db_keys", "Total number of keys by DB", 1},
		{"expires", "redis_db_keys_expiring", "Total number of expiring keys by DB", 1},
		{"avg_ttl", "redis_db_avg_ttl_seconds", "Avg TTL in seconds", 1e3},
	} {
		if n, ok := float(kv[m.field]); ok {
			p.b.Gauge(m.metric, m.help, n/m.per, "db", name)
		}
	}
}

// command is cmdstat_get:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0.
func (p *parser) command(name, value string) {
	kv := pairs(value)
	for _, m := range []struct {
		field, metric, help string
		per                 float64
	}{
		{"calls", "redis_commands_total", "Total number of calls per command", 1},
		{"usec", "redis_commands_duration_seconds_total", "Total amount of time in seconds spent per command", 1e6},
		{"rejected_calls", "redis_commands_rejected_calls_total", "Total number of errors within command execution per command", 1},
		{"failed_calls", "redis_commands_failed_calls_total", "Total number of errors prior command execution per command", 1},
	} {
		if n, ok := float(kv[m.field]); ok {
			p.b.Counter(m.metric, m.help, n/m.per, "cmd", name)
		}
	}
}

// latency is latency_percentiles_usec_get:p50=1.003,p99=2.007,p99.9=2.007.
func (p *parser) latency(name, value string) {
	s := &dto.Summary{}
	for pair := range strings.SplitSeq(value, ",") {
		percent, micros, _ := strings.Cut(strings.TrimPrefix(pair, "p"), "=")
		q, ok := float(percent)
		v, also := float(micros)
		if !ok || !also || q < 0 || q > 100 {
			return
		}
		q /= 100
		s.Quantile = append(s.Quantile, &dto.Quantile{Quantile: &q, Value: &v})
	}
	p.b.Family("redis_latency_percentiles_usec", "A summary of latency percentile distribution per command", dto.MetricType_SUMMARY).
		AddSummary(s, families.Labels("cmd", name))
}

// replica is slave0:ip=10.0.0.1,port=6379,state=online,offset=1,lag=0.
func (p *parser) replica(_, value string) {
	kv := pairs(value)
	labels := []string{"slave_ip", kv["ip"], "slave_port", kv["port"], "slave_state", kv["state"]}
	if n, ok := float(kv["offset"]); ok {
		p.b.Gauge("redis_connected_slave_offset_bytes", "Offset of connected slave", n, labels...)
	}
	if n, ok := float(kv["lag"]); ok {
		p.b.Gauge("redis_connected_slave_lag_seconds", "Lag of connected slave", n, labels...)
	}
}

// pairs are a=1,b=2.
func pairs(value string) map[string]string {
	out := make(map[string]string)
	for pair := range strings.SplitSeq(value, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			out[k] = v
		}
	}
	return out
}

// float reads a number, with or without a percent sign.
func float(s string) (float64, bool) {
	if s == "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	return v, err == nil
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
