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

// mergeInfo joins the texts of several servers.
func mergeInfo(texts []string) string {
	sums := map[string]int64{}
	spaces := map[string]*keyspace{}
	var names []string
	for _, text := range texts {
		for line := range strings.SplitSeq(text, "\r\n") {
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				continue
			}
			if additive[name] {
				n, _ := strconv.ParseInt(value, 10, 64)
				sums[name] += n
			} else if isKeyspace(name) {
				if spaces[name] == nil {
					spaces[name] = &keyspace{}
					names = append(names, name)
				}
				spaces[name].add(value)
			}
		}
	}
	return writeInfo(texts[0], len(texts), sums, spaces, names)
}

func writeInfo(first string, shards int, sums map[string]int64, spaces map[string]*keyspace, names []string) string {
	var b strings.Builder
	b.WriteString("# Dragoman\r\nshards:" + strconv.Itoa(shards) + "\r\n\r\n")
	for line := range strings.SplitAfterSeq(first, "\r\n") {
		name, _, ok := strings.Cut(line, ":")
		switch {
		case ok && additive[name]:
			b.WriteString(name + ":" + strconv.FormatInt(sums[name], 10) + "\r\n")
		case ok && isKeyspace(name):
		case strings.HasPrefix(line, "# Keyspace"):
			b.WriteString(line)
			for _, db := range names {
				b.WriteString(db + ":" + spaces[db].String() + "\r\n")
			}
		default:
			b.WriteString(line)
		}
	}
	return b.String()
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
