package server

import (
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/linked"
)

// mark is a set of facts about a sub.
type marks uint16

const (
	// explicit: the client has named it, not only asked for everything.
	explicit marks = 1 << iota
	// dirty: in the lane's list of what may have to be sent.
	dirty
	// owed: it must be answered, even if nothing has changed.
	owed
	// held: the client has some version of it.
	held
	// told: the client knows that it does not exist.
	told
	// acked and refused: what became of the last version sent.
	acked
	refused
	// gone: no longer in the lane.
	gone
	// brought: the client had it when it came, and it is not known yet whether it may.
	brought
)

// sub is what one stream knows of one name.
type sub struct {
	lane *lane
	name string
	// entry is nil while the name is not granted.
	entry *entry
	// Links are to others of the same entry, whose lock guards them.
	linked.Links[*sub]
	// sent is the hash of the version that the client was sent last, or said at
	// first that it has; 0: none, or none that is known.
	sent  uint64
	marks marks
}

func (s *sub) has(m marks) bool { return s.marks&m != 0 }

// want is what the client ought to hold: nil if nothing.
func (s *sub) want() *Resource {
	if s.entry == nil {
		return nil
	}
	return s.entry.current.Load()
}

// due says whether something must be sent, and what: a version, or (nil) that
// there is none.
func (s *sub) due() (r *Resource, due bool) {
	r = s.want()
	if r != nil {
		return r, s.has(owed) || s.sent != r.hash
	}
	return nil, s.has(owed) || !s.has(brought) && (s.has(held) || s.has(explicit) && !s.has(told))
}

// urgent says that the client waits for it: it has asked and has nothing yet.
func (s *sub) urgent() bool { return s.has(owed) || s.has(explicit) && !s.has(held) }

// bind makes e what the name stands for.
func (s *sub) bind(e *entry) {
	if s.entry == e {
		return
	}
	if s.entry != nil {
		s.entry.unsubscribe(s)
	}
	s.entry = e
	if e != nil {
		e.subscribe(s)
	}
}

// drop takes the sub off its resource; the lane's map is the caller's.
func (s *sub) drop() {
	s.bind(nil)
	s.marks |= gone
	delete(s.lane.refusals, s)
}

// lane is what a stream knows of one type. Its node's lock guards it.
type lane struct {
	node    *Node
	typeURL string
	rank    rank
	meter   *typeMeter

	// wildcard: everything of the type that is granted.
	wildcard bool
	// warned: it is in the log that this client asks for what it may not have.
	warned bool

	subs  map[string]*sub
	dirty []*sub
	// since and revision are of the causes that wait: the oldest At, the newest
	// Publish.
	since    time.Time
	revision uint64
	// flight is the response that waits for its ACK.
	flight *flight
	// declined is the newest response, if it was refused: its ACK may yet come.
	declined *flight
	// watch is open while a state-of-the-world client waits for a response.
	watch *watch
	// obliged: the client has asked for everything; if there is nothing, that must be
	// said, because it waits.
	obliged bool
	// refusals are the NACKs of versions that are still the newest sent.
	refusals map[*sub]*Refusal
	// ups, removals and answers are what sweep has counted.
	ups, removals, answers int
}

// flight is a response on its way.
type flight struct {
	nonce    uint64
	subs     []*sub
	bytes    int
	count    int
	since    time.Time
	revision uint64
	// Of state of the world: the response's version, and that it has left
	// go-control-plane's server.
	version   string
	delivered bool
}

// mark notes that a sub may have something to be sent.
func (l *lane) mark(s *sub) {
	if s.has(dirty) {
		return
	}
	s.marks |= dirty
	l.dirty = append(l.dirty, s)
}

// cause notes why something may have to be sent.
func (l *lane) cause(at time.Time, revision uint64) {
	l.revision = max(l.revision, revision)
	if !at.IsZero() && (l.since.IsZero() || at.Before(l.since)) {
		l.since = at
	}
}

// subscribe gives the sub of a name, making it if need be.
func (l *lane) subscribe(name string, e *entry) *sub {
	s := l.subs[name]
	if s == nil {
		s = &sub{lane: l, name: name}
		l.subs[name] = s
	}
	s.bind(e)
	return s
}

// remove forgets a sub.
func (l *lane) remove(s *sub) {
	s.drop()
	delete(l.subs, s.name)
}

// regrant takes a changed grant over.
func (l *lane) regrant(items []granted) {
	for name, s := range l.subs {
		var e *entry
		if g := find(items, name); g != nil {
			e = g.entry
		}
		lapsed := s.has(brought) && !l.node.keepsLocked(l.typeURL, name)
		if e == s.entry && !lapsed {
			continue
		}
		s.marks &^= brought
		s.bind(e)
		l.mark(s)
	}
	if l.wildcard {
		l.subscribeAll(items, nil)
	}
}

// subscribeAll subscribes to everything that is granted. versions are those that
// the client says it has.
func (l *lane) subscribeAll(items []granted, versions map[string]string) {
	for i := range items {
		name := items[i].name
		if l.subs[name] != nil {
			continue
		}
		s := l.subscribe(name, items[i].entry)
		s.adopt(versions)
		l.mark(s)
	}
}

// adopt takes over what the client says it has.
func (s *sub) adopt(versions map[string]string) {
	version, ok := versions[s.name]
	if !ok {
		return
	}
	s.marks |= held
	if s.entry == nil && s.lane.node.keepsLocked(s.lane.typeURL, s.name) {
		s.marks |= brought
	}
	if r := s.want(); r != nil && r.version == version {
		s.sent = r.hash
		s.marks |= acked
	}
}

// sweep drops from the list what need not be sent after all, forgets subs that
// nobody needs, and counts the rest.
func (l *lane) sweep() {
	l.ups, l.removals, l.answers = 0, 0, 0
	kept := l.dirty[:0]
	for _, s := range l.dirty {
		if s.has(gone) {
			continue
		}
		r, due := s.due()
		switch {
		case !due:
			s.marks &^= dirty
			if s.entry == nil && !s.has(explicit|brought) {
				l.remove(s)
			}
			continue
		case r != nil:
			l.ups++
		case s.has(held):
			l.removals++
		default:
			l.answers++
		}
		kept = append(kept, s)
	}
	clear(l.dirty[len(kept):])
	l.dirty = kept
	if len(kept) == 0 {
		l.settle()
	}
}

// settle clears what a lane with nothing to send need not remember.
func (l *lane) settle() {
	l.since, l.revision = time.Time{}, 0
	l.dirty = nil
}

// gates says which kinds of things may go out now.
type gates struct {
	// changes: new versions of what the client has; removals: of what it has.
	changes, removals bool
}

// gates looks at the other lanes: sweep must have counted them.
func (n *Node) gates(l *lane) gates {
	g := gates{changes: true, removals: true}
	changes, removals, before := l.rank.changesAfter(), l.rank.removalsAfter(), l.rank.removalsBefore()
	for _, other := range n.lanes {
		if changes.has(other.rank) && other.ups > 0 {
			g.changes = false
		}
		if removals.has(other.rank) && (other.ups+other.removals > 0 || other.flight != nil) {
			g.removals = false
		}
		if before.has(other.rank) && other.removals > 0 {
			g.removals = false
		}
	}
	return g
}

// pass says whether a sub's news may go out.
func (g gates) pass(s *sub, r *Resource) bool {
	switch {
	case r != nil:
		return g.changes || s.urgent()
	case s.has(held):
		return g.removals
	default:
		return true
	}
}

// take marks a sub as sent: r, or (nil) that it does not exist.
func (s *sub) take(r *Resource) {
	s.marks &^= dirty | owed | acked | refused | told | brought
	delete(s.lane.refusals, s)
	if r != nil {
		s.sent = r.hash
		s.marks |= held
		return
	}
	s.sent = 0
	s.marks &^= held
	s.marks |= told
	if s.entry == nil && !s.has(explicit) {
		s.lane.remove(s)
	}
}

// answered ends the flight. A refusal gets the resources that it is about.
func (l *lane) answered(refusal *Refusal) {
	f := l.flight
	l.flight = nil
	l.node.unacked -= f.bytes
	guilty := f.subs
	if refusal == nil {
		guilty = nil
	} else if named := refusal.names(f.subs); len(named) > 0 {
		guilty = named
	}
	for _, s := range f.subs {
		s.accept()
	}
	for _, s := range guilty {
		refusal.Keys = append(refusal.Keys, s.key())
		if s.has(gone) {
			continue
		}
		s.marks = s.marks&^acked | refused
		if l.refusals == nil {
			l.refusals = map[*sub]*Refusal{}
		}
		l.refusals[s] = refusal
	}
	if len(l.refusals) == 0 {
		l.refusals = nil
	}
}

// accept notes that the client has taken the version that it was sent.
func (s *sub) accept() {
	s.marks = s.marks&^refused | acked
	delete(s.lane.refusals, s)
}

// refusal is the newest one that still counts.
func (l *lane) refusal() *Refusal {
	var newest *Refusal
	for _, r := range l.refusals {
		if newest == nil || r.At.After(newest.At) {
			newest = r
		}
	}
	return newest
}

// names are those of a refused response that the client names as the reason: it
// takes the others. None: it doesn't say.
func (r *Refusal) names(subs []*sub) []*sub {
	if len(r.Message) > maxMessageBytes {
		return nil // cut short: there may have been more names
	}
	var named []*sub
	for _, s := range subs {
		if mentions(r.Message, s.name) {
			named = append(named, s)
		}
	}
	return named
}

// mentions says whether a text has a name, and not only as a part of another.
func mentions(text, name string) bool {
	part := func(b byte) bool {
		return b == '/' || b == '-' || b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
	}
	for at := 0; ; {
		i := strings.Index(text[at:], name)
		if i < 0 {
			return false
		}
		begin, end := at+i, at+i+len(name)
		if (begin == 0 || !part(text[begin-1])) && (end == len(text) || !part(text[end])) {
			return true
		}
		at = begin + 1
	}
}

func (s *sub) key() Key {
	if s.entry != nil {
		return s.entry.key
	}
	return Key{TypeURL: s.lane.typeURL, ID: strings.Clone(s.name)}
}
