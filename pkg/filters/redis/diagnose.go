package redis

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// What servers tell of themselves, in one answer of all shards.

// timed is one entry of a log, and when it was made, in a unit that its log has.
type timed struct {
	at    int64
	entry []byte
}

// timedEntries are the elements of all parts, each of which tells its time. ok is
// false if one does not.
func (m *merge) timedEntries(when func(entry *redisproto.Value) (at int64, ok bool)) (all []timed, ok bool) {
	for _, p := range m.parts {
		_, entries, err := redisproto.Elements(p)
		if err != nil {
			return nil, false
		}
		for e := range entries {
			v, _, err := redisproto.ParseValue(e, &replyLimits)
			if err != nil {
				return nil, false
			}
			at, ok := when(&v)
			if !ok {
				return nil, false
			}
			all = append(all, timed{at, e})
		}
	}
	return all, true
}

// timeAt takes an entry's time from one of its positions.
func timeAt(i int) func(*redisproto.Value) (int64, bool) {
	return func(entry *redisproto.Value) (int64, bool) {
		if len(entry.Elems) <= i {
			return 0, false
		}
		return entry.Elems[i].Int, true
	}
}

// timeByAge counts back to when an entry was made that tells its age, in s.
func timeByAge(entry *redisproto.Value) (int64, bool) {
	age := statOf(entry, "age-seconds")
	if age == nil {
		return 0, false
	}
	s, err := strconv.ParseFloat(string(age.Str), 64)
	return -int64(s * 1e6), err == nil
}

func appendTimed(dst []byte, all []timed) []byte {
	dst = redisproto.AppendArray(dst, len(all))
	for _, t := range all {
		dst = append(dst, t.entry...)
	}
	return dst
}

// combineNewest is for SLOWLOG GET and ACL LOG: the newest entries of all shards,
// newest first; as many as r asks for.
func combineNewest(r *request, when func(*redisproto.Value) (int64, bool)) combine {
	limit := 10 // as the server has it
	if r.argc() > 2 {
		if n, err := strconv.Atoi(string(r.arg(2))); err == nil {
			limit = n
		}
	}
	return func(m *merge, dst []byte, _ uint8) []byte {
		all, ok := m.timedEntries(when)
		if !ok {
			return append(dst, m.parts[0]...)
		}
		slices.SortStableFunc(all, func(a, b timed) int { return cmp.Compare(b.at, a.at) })
		if limit >= 0 && limit < len(all) {
			all = all[:limit]
		}
		return appendTimed(dst, all)
	}
}

// combineByTime joins arrays of entries that begin with a time (LATENCY HISTORY).
func combineByTime(m *merge, dst []byte, _ uint8) []byte {
	all, ok := m.timedEntries(timeAt(0))
	if !ok {
		return append(dst, m.parts[0]...)
	}
	slices.SortStableFunc(all, func(a, b timed) int { return cmp.Compare(a.at, b.at) })
	return appendTimed(dst, all)
}

// combineLatest is for LATENCY LATEST: each event once, as the shard has it that
// saw it last, with the worst of all shards.
func combineLatest(m *merge, dst []byte, _ uint8) []byte {
	var events []redisproto.Value
	for _, p := range m.parts {
		v, _, err := redisproto.ParseValue(p, &replyLimits)
		if err != nil {
			return append(dst, p...)
		}
		for _, e := range v.Elems {
			if len(e.Elems) < 4 {
				return append(dst, p...)
			}
			events = withEvent(events, e)
		}
	}
	dst = redisproto.AppendArray(dst, len(events))
	for _, e := range events {
		dst = redisproto.AppendArray(dst, len(e.Elems))
		dst = redisproto.AppendBulk(dst, e.Elems[0].Str)
		for _, n := range e.Elems[1:] {
			dst = redisproto.AppendInt(dst, n.Int)
		}
	}
	return dst
}

// withEvent adds an event: its name, time, latest and longest latency; what newer
// servers say behind that are sums.
func withEvent(events []redisproto.Value, e redisproto.Value) []redisproto.Value {
	i := slices.IndexFunc(events, func(o redisproto.Value) bool { return string(o.Elems[0].Str) == string(e.Elems[0].Str) })
	if i < 0 {
		return append(events, e)
	}
	have := events[i].Elems
	if e.Elems[1].Int > have[1].Int {
		have[1], have[2] = e.Elems[1], e.Elems[2]
	}
	have[3].Int = max(have[3].Int, e.Elems[3].Int)
	for k := 4; k < min(len(have), len(e.Elems)); k++ {
		have[k].Int += e.Elems[k].Int
	}
	return events
}

// combineTexts joins texts for people, each under the name of its server.
func combineTexts(targets []fanTarget) combine {
	var names []string
	for _, t := range targets {
		names = append(names, t.describe())
	}
	return func(m *merge, dst []byte, resp uint8) []byte {
		var text []byte
		for i, p := range m.parts {
			v, _, err := redisproto.ParseValue(p, &replyLimits)
			if err != nil {
				return append(dst, p...)
			}
			text = append(append(append(text, "# "...), names[i]...), '\n')
			text = append(append(text, v.Text()...), '\n')
		}
		return redisproto.AppendVerbatim(dst, "txt", string(text), int(resp))
	}
}

// describe names the server, as errors do.
func (t *fanTarget) describe() string {
	e := t.replica
	if e == nil {
		e = t.primary()
	}
	name := "shard \"" + t.table.Shards[t.shard].Name + "\""
	if e == nil {
		return name
	}
	return name + " (" + e.Address + ")"
}

// combineRunning takes the reply of the shard that runs a function (FUNCTION STATS).
func combineRunning(m *merge, dst []byte, _ uint8) []byte {
	for _, p := range m.parts {
		v, _, err := redisproto.ParseValue(p, &replyLimits)
		if err == nil && len(v.Elems) > 1 && string(v.Elems[0].Str) == "running_script" && !v.Elems[1].Null {
			return append(dst, p...)
		}
	}
	return append(dst, m.parts[0]...)
}

// combineStats adds up the numbers of MEMORY STATS. What is no whole number, a
// ratio, is the first shard's; keys.bytes-per-key is an average, made anew.
func combineStats(m *merge, dst []byte, resp uint8) []byte {
	var total redisproto.Value
	for i, p := range m.parts {
		v, _, err := redisproto.ParseValue(p, &replyLimits)
		if err != nil {
			return append(dst, p...)
		}
		if i == 0 {
			total = v
		} else {
			addStats(&total, &v)
		}
	}
	used, keys := statOf(&total, "total.allocated"), statOf(&total, "keys.count")
	startup, each := statOf(&total, "startup.allocated"), statOf(&total, "keys.bytes-per-key")
	if used != nil && keys != nil && startup != nil && each != nil && keys.Int > 0 {
		each.Int = (used.Int - startup.Int) / keys.Int
	}
	return appendStats(dst, &total, resp)
}

// statOf finds a value of a map; nil if there is none of that name.
func statOf(stats *redisproto.Value, name string) *redisproto.Value {
	for i := 0; i+1 < len(stats.Elems); i += 2 {
		if string(stats.Elems[i].Str) == name {
			return &stats.Elems[i+1]
		}
	}
	return nil
}

func addStats(total, more *redisproto.Value) {
	for i := 0; i+1 < len(more.Elems); i += 2 {
		name, v := more.Elems[i], more.Elems[i+1]
		have := statOf(total, string(name.Str))
		switch {
		case have == nil: // a database that only some have
			total.Elems = append(total.Elems, name, v)
		case v.Kind == ':':
			have.Int += v.Int
		case len(v.Elems) > 0:
			addStats(have, &v)
		}
	}
}

func appendStats(dst []byte, v *redisproto.Value, resp uint8) []byte {
	switch v.Kind {
	case ':':
		return redisproto.AppendInt(dst, v.Int)
	case '*', '%':
		dst = redisproto.AppendMap(dst, len(v.Elems)/2, int(resp))
		for i := range v.Elems {
			dst = appendStats(dst, &v.Elems[i], resp)
		}
		return dst
	case ',':
		return append(append(append(dst, ','), v.Str...), '\r', '\n')
	}
	return redisproto.AppendBulk(dst, v.Str)
}
