package redis

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// slowLog keeps the latest slow commands of each listener. Values never enter
// it: an entry has the command's name, and who sent it.
type slowLog struct {
	mu        sync.Mutex // guards below
	listeners map[string]*slowRing
}

// slowRing has room for a number of entries, the latest. When a server is late all
// its commands are slow: one more costs the same, however many there are.
type slowRing struct {
	entries []slowCommand
	next    int // index of the oldest once there is no more room
}

// slowCommand is an entry before anybody reads it.
type slowCommand struct {
	SlowEntry
	from netip.AddrPort // of a client with such an address
}

// add puts an entry in, in place of the oldest if there are limit or more.
func (r *slowRing) add(e slowCommand, limit int) {
	if len(r.entries) > limit || len(r.entries) < limit && r.next != 0 { // configured anew
		r.entries = r.latest(limit)
		r.next = 0
	}
	switch {
	case limit == 0:
	case len(r.entries) < limit:
		r.entries = append(r.entries, e)
	default:
		r.entries[r.next] = e
		r.next = (r.next + 1) % limit
	}
}

// latest are at most n entries, in their order.
func (r *slowRing) latest(n int) []slowCommand {
	list := slices.Concat(r.entries[r.next:], r.entries[:r.next])
	return list[max(0, len(list)-n):]
}

// SlowEntry is one slow command.
type SlowEntry struct {
	Time     time.Time     `json:"time"`
	Listener string        `json:"listener"`
	Command  string        `json:"command"`
	Client   string        `json:"client"`
	Name     string        `json:"name,omitempty"` // of the client, as CLIENT SETNAME
	Duration time.Duration `json:"duration_ns"`
	Failed   bool          `json:"failed,omitempty"`
}

// slow records a command that took ns.
func (f *localFilter) slow(c *client, s *slot, took int64) {
	e := slowCommand{from: c.conn.RemoteAddrPort(), SlowEntry: SlowEntry{
		Time: f.w.loop.WallTime(), Listener: f.name, Command: s.cmd.name, Duration: time.Duration(took), Failed: s.failed,
	}}
	if !e.from.IsValid() {
		e.Client = c.conn.RemoteAddr()
	}
	if c.x != nil {
		e.Name = c.x.name
	}
	l := &f.b.slow
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.listeners[f.name]
	if r == nil {
		if l.listeners == nil {
			l.listeners = map[string]*slowRing{}
		}
		r = &slowRing{}
		l.listeners[f.name] = r
	}
	r.add(e, int(f.cfg.SlowLog.MaxLen))
}

// SlowLog returns the slow commands of all listeners, the latest first.
func (b *Builder) SlowLog() any {
	b.slow.mu.Lock()
	defer b.slow.mu.Unlock()
	all := []SlowEntry{}
	for _, r := range b.slow.listeners {
		for _, e := range r.latest(len(r.entries)) {
			if e.from.IsValid() {
				e.Client = e.from.String()
			}
			all = append(all, e.SlowEntry)
		}
	}
	slices.Reverse(all)
	slices.SortStableFunc(all, func(x, y SlowEntry) int { return y.Time.Compare(x.Time) })
	return all
}

// hotKeys counts a sample of the keys of each listener, with the Space-Saving
// algorithm (Metwally, Agrawal, El Abbadi 2005): a fixed number of counters, of
// which the smallest is taken over by a key that has none.
type hotKeys struct {
	mu        sync.Mutex // guards below
	listeners map[string]*keyCounts
}

// keyCounts are the counters of one listener.
type keyCounts struct {
	top    int // keys reported
	counts map[string]uint64
}

// HotKey is one entry of the report.
type HotKey struct {
	Listener string `json:"listener"`
	Key      string `json:"key"`
	// Requests is an estimate: the samples, scaled up. It may be too high by
	// what a counter held when the key took it over.
	Requests uint64 `json:"requests_estimate"`
}

const (
	hotKeyCounters = 8 // per reported key
	hotKeyMaxLen   = 256
)

// sampleKey counts one key of so many.
func (f *localFilter) sampleKey(key []byte) {
	if !f.cfg.HotKeys.Enabled() {
		return
	}
	rate := f.cfg.HotKeys.SampleRate
	if f.untilSample > 0 {
		f.untilSample--
		return
	}
	f.untilSample = rand.Uint32N(2*rate - 1) // rate-1 on average, so that no rhythm of the keys matters
	f.b.hot.count(f.name, string(key[:min(len(key), hotKeyMaxLen)]), int(f.cfg.HotKeys.Top), uint64(rate))
}

func (h *hotKeys) count(listener, key string, top int, weight uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == nil {
		h.listeners = map[string]*keyCounts{}
	}
	l := h.listeners[listener]
	if l == nil {
		l = &keyCounts{counts: map[string]uint64{}}
		h.listeners[listener] = l
	}
	l.top = top
	if _, ok := l.counts[key]; ok || len(l.counts) < top*hotKeyCounters {
		l.counts[key] += weight
		return
	}
	least, n := "", uint64(0)
	for k, v := range l.counts {
		if n == 0 || v < n {
			least, n = k, v
		}
	}
	delete(l.counts, least)
	l.counts[key] = n + weight
}

// HotKeys returns the most used keys of all listeners, the hottest first.
func (b *Builder) HotKeys() any {
	b.hot.mu.Lock()
	defer b.hot.mu.Unlock()
	all := []HotKey{}
	for listener, l := range b.hot.listeners {
		var list []HotKey
		for key, n := range l.counts {
			list = append(list, HotKey{Listener: listener, Key: printable(key), Requests: n})
		}
		slices.SortFunc(list, hotter)
		all = append(all, list[:min(len(list), l.top)]...)
	}
	slices.SortFunc(all, hotter)
	return all
}

func hotter(a, b HotKey) int {
	return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(a.Key, b.Key))
}

// printable makes a key fit for JSON.
func printable(key string) string {
	if utf8.ValidString(key) {
		return key
	}
	return strings.ToValidUTF8(key, "\ufffd")
}
