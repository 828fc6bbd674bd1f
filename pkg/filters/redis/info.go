package redis

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// infoRule says how a field of INFO is merged. Without one it is the first shard's.
type infoRule uint8

const (
	infoSum   infoRule = iota + 1
	infoMost           // of numbers, and of flags: 1 if any shard has it
	infoLeast          // of times
	infoWorst          // "ok" if all are
)

// infoFields are the fields that have a rule.
func infoFields() map[infoRule]string {
	return map[infoRule]string{
		infoSum: `
		connected_clients blocked_clients tracking_clients clients_in_timeout_table maxclients connected_slaves
		used_memory used_memory_rss used_memory_peak used_memory_dataset used_memory_overhead used_memory_startup maxmemory
		mem_clients_normal mem_clients_slaves mem_aof_buffer mem_not_counted_for_evict mem_replication_backlog
		lazyfree_pending_objects lazyfreed_objects rdb_changes_since_last_save
		total_connections_received total_commands_processed instantaneous_ops_per_sec instantaneous_input_kbps instantaneous_output_kbps
		total_net_input_bytes total_net_output_bytes total_net_repl_input_bytes total_net_repl_output_bytes
		instantaneous_input_repl_kbps instantaneous_output_repl_kbps rejected_connections sync_full sync_partial_ok sync_partial_err
		expired_keys evicted_keys evicted_clients keyspace_hits keyspace_misses pubsub_channels pubsub_patterns pubsubshard_channels
		total_forks tracking_total_keys tracking_total_items tracking_total_prefixes total_error_replies unexpected_error_replies
		total_reads_processed total_writes_processed io_threaded_reads_processed io_threaded_writes_processed
		acl_access_denied_auth acl_access_denied_cmd acl_access_denied_key acl_access_denied_channel
		used_cpu_sys used_cpu_user used_cpu_sys_children used_cpu_user_children used_cpu_sys_main_thread used_cpu_user_main_thread`,
		infoMost: `
		loading async_loading rdb_bgsave_in_progress aof_rewrite_in_progress aof_rewrite_scheduled
		client_recent_max_input_buffer client_recent_max_output_buffer latest_fork_usec`,
		infoLeast: "rdb_last_save_time uptime_in_seconds uptime_in_days",
		infoWorst: "rdb_last_bgsave_status aof_last_bgrewrite_status aof_last_write_status",
	}
}

func infoRules() map[string]infoRule {
	rules := map[string]infoRule{}
	for rule, list := range infoFields() {
		for name := range strings.FieldsSeq(list) {
			rules[name] = rule
		}
	}
	return rules
}

// infoSums is what is merged of the texts of several servers.
type infoSums struct {
	shards int
	rules  map[string]infoRule
	fields map[string]infoField
	spaces map[string]*keyspace
	names  []string // of spaces, as they came
	stats  statLines
}

// infoField is the merged value of one field.
type infoField struct {
	n      int64  // its digits
	digits int    // of these behind the point
	text   string // what is no number
}

// fieldOf reads a number such as 17 or 0.25.
func fieldOf(value string) infoField {
	whole, fraction, _ := strings.Cut(value, ".")
	n, err := strconv.ParseInt(whole+fraction, 10, 64)
	if err != nil {
		return infoField{text: value}
	}
	return infoField{n: n, digits: len(fraction)}
}

func (f infoField) String() string {
	if f.text != "" || f.digits == 0 {
		return cmp.Or(f.text, strconv.FormatInt(f.n, 10))
	}
	digits := fmt.Sprintf("%0*d", f.digits+1, f.n)
	point := len(digits) - f.digits
	return digits[:point] + "." + digits[point:]
}

// with is the field of one server more.
func (f infoField) with(rule infoRule, more infoField) infoField {
	switch {
	case rule == infoWorst && f.text == "ok":
		return more
	case rule == infoSum && f.digits == more.digits:
		f.n += more.n
	case rule == infoMost:
		f.n = max(f.n, more.n)
	case rule == infoLeast:
		f.n = min(f.n, more.n)
	}
	return f
}

// mergeInfo joins the texts of several servers.
func mergeInfo(texts []string) string {
	m := infoSums{shards: len(texts), rules: infoRules(), fields: map[string]infoField{}, spaces: map[string]*keyspace{}}
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
	rule := m.rules[name]
	switch {
	case rule != 0:
		f := fieldOf(value)
		if have, known := m.fields[name]; known {
			f = have.with(rule, f)
		}
		m.fields[name] = f
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
		case ok && m.rules[name] != 0:
			b.WriteString(name + ":" + m.fields[name].String() + "\r\n")
		case ok && isHuman && m.rules[human] == infoSum:
			b.WriteString(name + ":" + humanBytes(m.fields[human].n) + "\r\n")
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
