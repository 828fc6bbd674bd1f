package client

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// want finds what all resources refer to, asks for what is new, gives up what
// nobody needs any more.
func (m *machine) want(now time.Time) {
	w := wanting{m: m, done: make(map[*version]bool)}
	for k := range m.types {
		w.users[k] = make(map[string]key)
	}
	w.all(false)
	offered := w.users
	for k := range offered {
		offered[k] = maps.Clone(offered[k])
	}
	w.all(true)
	for k := range numKinds {
		m.adopt(k, w.users[k], now)
	}
	for k := range m.waits {
		e := m.entry(k)
		_, wanted := w.users[k.kind][k.name]
		if !wanted || e != nil && e.offered != nil && !e.offered.disk {
			delete(m.waits, k)
			continue
		}
		if user, ok := offered[k.kind][k.name]; ok {
			m.waits[k].offered, m.waits[k].user = true, user
		} else {
			m.waits[k].offered = false
		}
	}
}

// wanting walks over references.
type wanting struct {
	m    *machine
	done map[*version]bool
	// old looks into what runs although there is something newer, and into what
	// was refused: once what that needs is better, it may be tried again.
	old   bool
	users [numKinds]map[string]key // by name of what is wanted: the first that needs it
}

// all starts from what is there without anybody's reference.
func (w *wanting) all(old bool) {
	w.old = old
	clear(w.done)
	for _, k := range []kind{clusters, listeners} {
		for _, e := range w.m.types[k].entries {
			w.entry(e)
		}
	}
}

func (w *wanting) entry(e *entry) {
	w.version(e.offered)
	if w.old {
		w.version(e.running)
		w.version(e.parked)
	}
}

func (w *wanting) version(v *version) {
	if v == nil || w.done[v] {
		return
	}
	w.done[v] = true
	for k := range numKinds {
		for _, name := range v.refs[k] {
			if user, ok := w.users[k][name]; !ok || compareKeys(v.key, user) < 0 {
				w.users[k][name] = v.key
			}
			if e := w.m.entry(key{k, name}); e != nil {
				w.entry(e)
			}
		}
	}
}

// adopt makes the names found those that are wanted.
func (m *machine) adopt(k kind, users map[string]key, now time.Time) {
	t := &m.types[k]
	clear(t.wanted)
	for name, user := range users {
		t.wanted[name] = true
		e := t.entries[name]
		if e != nil && e.offered != nil && !e.offered.disk {
			continue
		}
		w := m.waits[key{k, name}]
		if w == nil {
			w = &wait{since: now}
			if m.stream.open {
				w.deadline = now.Add(m.timeout)
			}
			m.waits[key{k, name}] = w
		}
		w.user = user
	}
	for name, e := range t.entries {
		if !k.wildcard() && !t.wanted[name] {
			e.remove()
		}
		if e.empty() {
			delete(t.entries, name)
		}
	}
}

// verdict says whether a resource can run.
type verdict uint8

const (
	ready   verdict = iota
	waiting         // something it needs is still awaited
	missing         // something it needs was given up
)

// judgement is a verdict with its cause.
type judgement struct {
	verdict verdict
	cause   key    // what is not there
	via     []key  // the way from the judged resource to it
	reason  string // why it is missing

	without *judgement // of a secret that what is ready runs without
}

// evaluation works out what can run now.
type evaluation struct {
	m      *machine
	held   map[key]bool // changes that must wait for their turn
	judged map[*version]judgement
	chosen map[key]*version
}

func (m *machine) evaluate() *evaluation {
	ev := &evaluation{
		m: m, held: make(map[key]bool),
		judged: make(map[*version]judgement), chosen: make(map[key]*version),
	}
	for i, group := range m.isolating {
		for _, k := range group {
			ev.held[k] = i > 0
		}
	}
	return ev
}

// choose finds the version of a resource that is to run: the newest that can,
// else the one that does. nil: none, and the judgement says why.
func (ev *evaluation) choose(k key) (*version, judgement) {
	e := ev.m.entry(k)
	why := ev.m.absence(k, e)
	if e != nil && e.offered != nil && !ev.held[k] {
		why = ev.judge(e.offered)
		if why.verdict == ready {
			return e.offered, why
		}
	}
	if k.kind == endpoints && why.verdict == missing && !ev.held[k] {
		if e != nil && e.running != nil && e.running.synthetic {
			return e.running, judgement{}
		}
		return noEndpoints(k), judgement{}
	}
	if e != nil && e.running != nil {
		return e.running, judgement{}
	}
	return nil, why
}

// absence says why a resource that is not there is not.
func (m *machine) absence(k key, e *entry) judgement {
	j := judgement{verdict: waiting, cause: k}
	w := m.waits[k]
	switch {
	case e != nil && e.refused != nil && e.offered == nil:
		j.verdict, j.reason = missing, "was refused: "+e.refused[0].Reason
		if path := e.refused[0].Path; path != "" {
			j.reason = "was refused: " + path + ": " + e.refused[0].Reason
		}
	case w != nil && w.gaveUp && w.absent:
		j.verdict, j.reason = missing, "is not there, as the control plane says"
	case w != nil && w.gaveUp:
		j.verdict, j.reason = missing, fmt.Sprintf("did not come within %s", m.timeout)
	case m.offline():
		j.verdict, j.reason = missing, "is not in the file, and no control plane answers"
	}
	return j
}

// offline says that all there is is the file.
func (m *machine) offline() bool { return m.loaded && !m.online }

// judge says whether all that a version refers to can run.
func (ev *evaluation) judge(v *version) judgement {
	if v.leaf {
		return judgement{}
	}
	if j, ok := ev.judged[v]; ok {
		return j
	}
	ev.judged[v] = judgement{} // a circle is no obstacle
	worst := judgement{}
	var without *judgement
	for k := range numKinds {
		for _, name := range v.refs[k] {
			dep := key{k, name}
			got, j := ev.choose(dep)
			lacks := j.without
			if got == nil && ev.m.late(v, dep) {
				lacks = &j
			}
			if lacks != nil {
				if !ev.m.replaces(v, dep) {
					without = lacks
					continue
				}
				j = *lacks
			}
			if j.verdict > worst.verdict {
				worst = j
				if j.cause != dep {
					worst.via = append([]key{dep}, j.via...)
				}
			}
		}
	}
	if worst.verdict == ready {
		worst.without = without
	}
	ev.judged[v] = worst
	return worst
}

// late reports whether a version can do without a secret that is not there: it does not
// come with the rest.
func (m *machine) late(v *version, dep key) bool {
	if dep.kind != secrets || !slices.Contains(v.refs[late], dep.name) {
		return false
	}
	w := m.waits[dep]
	return w == nil || w.lapsed || w.absent
}

// replaces reports whether a version would take the place of one that runs and does not
// refer to something: it waits for what that lacks.
func (m *machine) replaces(v *version, dep key) bool {
	e := m.entry(v.key)
	return e != nil && e.running != nil && !slices.Contains(e.running.refs[dep.kind], dep.name)
}

// candidate works out the whole set that is to run.
func (ev *evaluation) candidate() map[key]*version {
	ev.chosen = make(map[key]*version, ev.m.running)
	ev.judged = make(map[*version]judgement, ev.m.running)
	for _, k := range []kind{clusters, listeners} {
		for _, e := range ev.m.types[k].entries {
			if e.offered != nil {
				ev.include(e.key)
			}
		}
	}
	return ev.chosen
}

// include takes a resource and all that it refers to into the set. A cluster
// that was removed stays while a listener that runs refers to it.
func (ev *evaluation) include(k key) {
	if ev.chosen[k] != nil {
		return
	}
	v, _ := ev.choose(k)
	if v == nil {
		return
	}
	ev.chosen[k] = v
	for dep := range numKinds {
		for _, name := range v.refs[dep] {
			ev.include(key{dep, name})
		}
	}
}

// text tells what is not there, and why.
func (j judgement) text() string {
	var b strings.Builder
	for _, k := range j.via {
		fmt.Fprintf(&b, "needs %s, which ", k)
	}
	fmt.Fprintf(&b, "needs %s, which %s", j.cause, j.reason)
	return b.String()
}
