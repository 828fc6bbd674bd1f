package client

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
)

// machine is the protocol without I/O and clock. What happens is told to it by
// the methods opened, closed, receive, applied, load and tick; settle then works
// out what follows, which take and deadline give out. Not safe for concurrent
// use.
type machine struct {
	// read-only after construction
	parse    [numKinds]parser
	node     *corev3.Node
	explicit bool // ask for "*" by name
	timeout  time.Duration
	most     int // resources of each type

	types   [numKinds]typeState
	waits   map[key]*wait
	changes uint64 // arrivals that may mend what was refused: all but endpoints
	retried uint64 // changes that retryParked has seen
	running int    // resources of the running set
	ttls    bool   // some resource has or had a TTL
	// named are the unknown fields that the log has.
	named map[string]bool

	// What must be worked out anew: reshaped the references, moved what can run.
	reshaped, moved bool

	stream    stream
	online    bool       // a control plane has sent something
	loaded    bool       // the file is in use
	attempt   *candidate // in the Consumer's hands
	isolating [][]key    // groups of changes to try one after the other, the first of them now
	retryAt   time.Time  // not before: an attempt failed that nothing can be blamed for
	applied   appliedState

	todo todo // until take

	events events
}

// stream is the state of the connection to a control plane.
type stream struct {
	open     bool
	mode     Mode // Delta or SotW
	server   string
	since    time.Time
	nodeSent bool
	unknown  int // responses of a type that nobody asked for
}

// appliedState is what runs.
type appliedState struct {
	ever bool
	at   time.Time
	disk bool // some of it is from the file, unconfirmed
	// server is the control plane that it came from, or did once.
	server string
}

// typeState is what is known of one type.
type typeState struct {
	entries map[string]*entry
	wanted  map[string]bool // names that others refer to
	number  string          // SotW: version of the last response that was accepted

	// of this stream
	asked     bool
	answered  bool
	told      map[string]bool // names subscribed to
	nonce     string          // of the newest response
	seen      string          // its version
	replies   []*reply        // responses without an answer, oldest first
	mendable  *reply          // answered with a NACK, but what it brought may yet run
	held      nackPace
	confirmBy time.Time // until then what the file says of this type stands unconfirmed
	late      bool      // confirmBy has passed without an answer
}

// wait is a resource that another refers to and that is not there.
type wait struct {
	since    time.Time
	deadline time.Time // zero: no stream is open
	gaveUp   bool
	lapsed   bool // of a secret that may come later: what needs it goes ahead
	absent   bool // the control plane has said so
	user     key  // one that needs it
	offered  bool // something needs it that is not about to go
}

// events are counters of what happened, for metrics and Status.
type events struct {
	messages, resources, acks, nacks, timeouts [numKinds]uint64

	ignored           [numKinds]uint64 // resources with unknown fields
	unknown           uint64           // responses of an unknown type
	applies, failures uint64
	lastNacks         []Nack
	lastContact       time.Time
}

func newMachine(o Options) *machine {
	m := &machine{
		parse: parsers(), node: o.Node, explicit: o.ExplicitWildcard,
		timeout: o.ResourceTimeout, most: o.MaxResources,
		waits: make(map[key]*wait), named: make(map[string]bool),
	}
	for k := range m.types {
		m.types[k].entries = make(map[string]*entry)
		m.types[k].wanted = make(map[string]bool)
	}
	return m
}

// entry finds what is known of a resource; nil: nothing.
func (m *machine) entry(k key) *entry { return m.types[k.kind].entries[k.name] }

// make finds or makes the entry.
func (m *machine) make(k key) *entry {
	e := m.entry(k)
	if e == nil {
		e = &entry{key: k}
		m.types[k.kind].entries[k.name] = e
	}
	return e
}

// each visits every entry, by kind.
func (m *machine) each(visit func(*entry)) {
	for k := range m.types {
		for _, e := range m.types[k].entries {
			visit(e)
		}
	}
}

// opened tells that a stream is there. mode is Delta or SotW.
func (m *machine) opened(now time.Time, server string, mode Mode) {
	m.stream = stream{open: true, mode: mode, server: server, since: now}
	for k := range m.types {
		t := &m.types[k]
		t.resetStream()
		t.confirmBy = now.Add(m.timeout)
	}
	for _, w := range m.waits {
		w.deadline, w.absent = now.Add(m.timeout), w.absent && w.gaveUp
	}
	for k := range numKinds {
		m.subscribe(k)
	}
}

// closed tells that the stream is gone. What is known stays.
func (m *machine) closed() {
	m.stream = stream{}
	m.todo.requests = nil
	for k := range m.types {
		m.types[k].resetStream()
	}
	for _, w := range m.waits {
		w.deadline = time.Time{}
	}
}

func (t *typeState) resetStream() {
	t.asked, t.answered, t.told, t.nonce, t.seen = false, false, make(map[string]bool), "", ""
	t.replies, t.mendable, t.held, t.confirmBy, t.late = nil, nil, nackPace{}, time.Time{}, false
}

// tick tells the time: some resources are given up, some end.
func (m *machine) tick(now time.Time) {
	for k, w := range m.waits {
		if k.kind == secrets && !w.lapsed && due(w.since.Add(lateGrace), now) {
			w.lapsed, m.moved = true, true
		}
		if !w.gaveUp && due(w.deadline, now) {
			if e := m.entry(k); e != nil && e.offered != nil && (m.stream.mode == Delta || !m.types[clusters].answered) {
				w.deadline = now.Add(m.timeout) // what the file has is good until something else is said
				continue
			}
			w.gaveUp, m.moved = true, true
			m.events.timeouts[k.kind]++
			m.unconfirmed(k)
		}
	}
	if m.ttls {
		m.each(func(e *entry) {
			if due(e.expires, now) {
				m.drop(e)
			}
		})
	}
	for k := range numKinds {
		m.confirm(k, now)
	}
}

// lateGrace is how long it is waited for a secret that may come later: nearly
// always it comes with the rest, and then all is made at once.
const lateGrace = 200 * time.Millisecond

// absentGrace is how long it is waited for a resource that the control plane
// says is not there: it may be about to be, or what needs it about to go.
const absentGrace = 2 * time.Second

// absent tells that the control plane does not have a resource that is wanted.
func (m *machine) absent(k key, now time.Time) {
	w := m.waits[k]
	if w == nil {
		w = &wait{since: now, deadline: now.Add(m.timeout)}
		m.waits[k] = w
	}
	w.absent, m.moved = true, true
	if soon := now.Add(absentGrace); soon.Before(w.deadline) {
		w.deadline = soon
	}
}

// unconfirmed drops the endpoints that the file had and the control plane
// never sent: they are not there any more.
func (m *machine) unconfirmed(k key) {
	if e := m.entry(k); e != nil && k.kind == endpoints && e.offered != nil && e.offered.disk {
		m.drop(e)
	}
}

// confirm drops the listeners or clusters that the file had and a control plane of the
// state-of-the-world protocol has not mentioned for long enough. With delta it was told
// at first what is here (held), and says what is gone: its silence takes nothing away, as
// after any other reconnect. It may not know itself, when an object is broken.
func (m *machine) confirm(k kind, now time.Time) {
	t := &m.types[k]
	if !k.wildcard() || !due(t.confirmBy, now) {
		return
	}
	if !t.answered {
		t.late, t.confirmBy, m.moved = true, now.Add(m.timeout), true
		return
	}
	t.confirmBy = time.Time{}
	if m.stream.mode == Delta {
		return
	}
	for _, e := range t.entries {
		if e.offered != nil && e.offered.disk {
			m.drop(e)
		}
	}
}

// changed counts what may mend something that was refused.
func (m *machine) changed(k kind) {
	if k != endpoints {
		m.changes++
	}
}

// offer makes v the newest version of its resource.
func (m *machine) offer(e *entry, v *version) {
	v.leaf = v.refs.empty()
	before := e.offered
	if before != v {
		m.moved = true
	}
	if before == nil || before.disk || e.parked != nil || e.refused != nil || !before.refs.equal(v.refs) {
		m.reshaped, m.moved = true, true
	}
	e.offer(v)
}

// drop takes a resource out.
func (m *machine) drop(e *entry) {
	e.remove()
	m.reshaped, m.moved = true, true
	m.changed(e.key.kind)
}

// deadline is when tick and settle are due without anything else; zero: never.
func (m *machine) deadline() time.Time {
	var first time.Time
	sooner := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	for k, w := range m.waits {
		if !w.gaveUp {
			sooner(w.deadline)
		}
		if k.kind == secrets && !w.lapsed {
			sooner(w.since.Add(lateGrace))
		}
	}
	if m.ttls {
		m.each(func(e *entry) { sooner(e.expires) })
	}
	for k := range m.types {
		t := &m.types[k]
		if kind(k).wildcard() {
			sooner(t.confirmBy)
		}
		if len(t.replies) > 0 {
			sooner(t.replies[0].notBefore)
		}
	}
	sooner(m.retryAt)
	return first
}

// todo is what a machine wants done.
type todo struct {
	requests []proto.Message // for the stream, in order
	start    *candidate      // for the Consumer; nil: nothing
	persist  bool            // what runs is to be written to the file
	reopen   bool            // the stream is to be opened anew
	refused  []Nack          // for the log
	ignored  []ignored       // for the log
}

// take gives out what is to be done.
func (m *machine) take() todo {
	out := m.todo
	m.todo = todo{}
	return out
}

// settle works out what follows from what is known. Call it after any number of
// events.
func (m *machine) settle(now time.Time) {
	m.retryParked()
	if m.reshaped {
		m.reshaped = false
		m.want(now)
		for k := range numKinds {
			m.subscribe(k)
		}
	}
	next := m.next(now)
	if next != nil {
		m.attempt, m.todo.start = next, next
		m.events.applies++
	}
	for k := range numKinds {
		m.answer(k, now)
	}
	m.applied.disk = m.loaded && m.unconfirmedRuns()
}

// retry has settle try everything again that was refused by the Consumer.
func (m *machine) retry() {
	m.changes++
	m.retryAt, m.moved = time.Time{}, true
}

// retryParked offers what was refused again, if something has changed since.
func (m *machine) retryParked() {
	if m.retried == m.changes {
		return
	}
	m.retried = m.changes
	m.each(func(e *entry) {
		if e.parked != nil && e.parkedAt != m.changes {
			m.offer(e, e.parked)
		}
	})
}

// unconfirmedRuns says whether something runs that only the file has told.
func (m *machine) unconfirmedRuns() bool {
	found := false
	m.each(func(e *entry) { found = found || e.running != nil && e.running.disk })
	return found
}

func due(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }
