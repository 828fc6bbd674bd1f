package redis

import (
	"strconv"
	"strings"
)

// additive are the fields of INFO that are summed over the shards; all others
// are the first shard's.
var additive = map[string]bool{
	"connected_clients": true, "blocked_clients": true, "tracking_clients": true, "used_memory": true,
	"used_memory_rss": true, "used_memory_peak": true, "used_memory_dataset": true, "maxmemory": true,
	"total_connections_received": true, "total_commands_processed": true, "instantaneous_ops_per_sec": true,
	"total_net_input_bytes": true, "total_net_output_bytes": true, "rejected_connections": true,
	"expired_keys": true, "evicted_keys": true, "keyspace_hits": true, "keyspace_misses": true,
	"pubsub_channels": true, "pubsub_patterns": true, "total_error_replies": true,
	"total_reads_processed": true, "total_writes_processed": true, "connected_slaves": true,
	"rdb_changes_since_last_save": true,
}

// infoSums is what is merged of the texts of several servers.
type infoSums struct {
	shards int
	sums   map[string]int64
	spaces map[string]*keyspace
	names  []string // of spaces, as they came
	stats  statLines
}

// mergeInfo joins the texts of several servers.
func mergeInfo(texts []string) string {
	m := infoSums{shards: len(texts), sums: map[string]int64{}, spaces: map[string]*keyspace{}}
	for _, text := range texts {
		for line := range strings.SplitSeq(text, "\r\n") {
			if name, value, ok := strings.Cut(line, ":"); ok {
				m.add(name, value)
			}
		}
	}
	return m.write(texts[0])
}

func (m *infoSums) add(name, value string) {
	switch {
	case additive[name]:
		n, _ := strconv.ParseInt(value, 10, 64)
		m.sums[name] += n
	case isKeyspace(name):
		if m.spaces[name] == nil {
			m.spaces[name] = &keyspace{}
			m.names = append(m.names, name)
		}
		m.spaces[name].add(value)
	case statSection(name) != "":
		m.stats.add(name, value)
	}
}

// write is the first server's text with what was merged in the place of its own.
func (m *infoSums) write(first string) string {
	var b strings.Builder
	b.WriteString("# Dragoman\r\nshards:" + strconv.Itoa(m.shards) + "\r\n\r\n")
	for line := range strings.SplitAfterSeq(first, "\r\n") {
		name, _, ok := strings.Cut(line, ":")
		human, isHuman := strings.CutSuffix(name, "_human")
		switch {
		case ok && additive[name]:
			b.WriteString(name + ":" + strconv.FormatInt(m.sums[name], 10) + "\r\n")
		case ok && isHuman && additive[human]:
			b.WriteString(name + ":" + humanBytes(m.sums[human]) + "\r\n")
		case ok && (isKeyspace(name) || statSection(name) != ""):
		case strings.HasPrefix(line, "# "):
			b.WriteString(line)
			m.writeSection(&b, strings.TrimSpace(line[2:]))
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

// writeSection writes what a section has of all shards.
func (m *infoSums) writeSection(b *strings.Builder, section string) {
	if section != "Keyspace" {
		m.stats.write(b, section)
		return
	}
	for _, db := range m.names {
		b.WriteString(db + ":" + m.spaces[db].String() + "\r\n")
	}
}

// isKeyspace reports whether a field is that of a database: db0, db1, ...
func isKeyspace(name string) bool {
	digits, ok := strings.CutPrefix(name, "db")
	if !ok || digits == "" {
		return false
	}
	_, err := strconv.ParseUint(digits, 10, 32)
	return err == nil
}

// keyspace is one database's line in INFO, added up over the shards.
type keyspace struct {
	keys, expires, ttlWeighted int64
}

func (k *keyspace) add(value string) {
	var keys, expires, ttl int64
	for field := range strings.SplitSeq(value, ",") {
		name, number, _ := strings.Cut(field, "=")
		n, _ := strconv.ParseInt(number, 10, 64)
		switch name {
		case "keys":
			keys = n
		case "expires":
			expires = n
		case "avg_ttl":
			ttl = n
		}
	}
	k.keys += keys
	k.expires += expires
	k.ttlWeighted += ttl * expires
}

func (k *keyspace) String() string {
	ttl := int64(0)
	if k.expires > 0 {
		ttl = k.ttlWeighted / k.expires
	}
	return "keys=" + strconv.FormatInt(k.keys, 10) + ",expires=" + strconv.FormatInt(k.expires, 10) +
		",avg_ttl=" + strconv.FormatInt(ttl, 10)
}
