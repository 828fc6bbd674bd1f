package client

import (
	"cmp"
	"errors"
	"slices"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// candidate is a set for the Consumer to make run.
type candidate struct {
	chosen map[key]*version
	update Update
}

// next gives the candidate that is to be tried now; nil: none, because one is
// being tried, because nothing is different, or because it is too early.
func (m *machine) next(now time.Time) *candidate {
	if !m.retryAt.IsZero() {
		if now.Before(m.retryAt) {
			return nil
		}
		m.retryAt, m.moved = time.Time{}, true
	}
	if m.attempt != nil || !m.moved {
		return nil
	}
	m.moved = false
	for {
		ev := m.evaluate()
		chosen := ev.candidate()
		switch {
		case !m.different(chosen):
			if len(m.isolating) == 0 {
				return nil
			}
			m.isolating = m.isolating[1:] // this group has settled itself
			continue
		case !m.worthwhile(ev):
			return nil
		}
		return &candidate{chosen: chosen, update: m.update(chosen, ev)}
	}
}

// different reports whether a set is not the one that runs.
func (m *machine) different(chosen map[key]*version) bool {
	if !m.applied.ever {
		return true
	}
	if m.running != len(chosen) {
		return true
	}
	for k, v := range chosen {
		if e := m.entry(k); e == nil || e.running != v {
			return true
		}
	}
	return false
}

// worthwhile reports whether the first set is worth trying: a control plane has told
// what it has, and something in it can run or nothing is awaited any more.
func (m *machine) worthwhile(ev *evaluation) bool {
	if m.applied.ever {
		return true
	}
	awaited := false
	for k, e := range m.types[listeners].entries {
		if ev.chosen[key{listeners, k}] != nil {
			return m.told()
		}
		awaited = awaited || e.offered != nil && ev.judge(e.offered).verdict == waiting
	}
	return !awaited && m.told() && !m.offline()
}

// told says that all listeners and clusters there are have been told.
func (m *machine) told() bool {
	c := &m.types[clusters]
	return m.loaded || m.types[listeners].answered && (c.answered || c.late)
}

// update makes protos of a set.
func (m *machine) update(chosen map[key]*version, ev *evaluation) Update {
	u := Update{Origin: Origin{Server: m.stream.server}}
	keys := make([]key, 0, len(chosen))
	for k := range chosen {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	for _, k := range keys {
		v := chosen[k]
		u.Origin.Disk = u.Origin.Disk || v.disk
		addTo(&u.Set, v)
	}
	if u.Origin.Disk || u.Origin.Server == "" {
		u.Origin.Server = m.applied.server
	}
	u.Pending, u.Missing = m.lacking(ev)
	return u
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name))
}

func addTo(set *resource.Set, v *version) {
	switch p := v.msg.(type) {
	case *clusterv3.Cluster:
		set.Clusters = append(set.Clusters, p)
	case *endpointv3.ClusterLoadAssignment:
		set.Endpoints = append(set.Endpoints, p)
	case *listenerv3.Listener:
		set.Listeners = append(set.Listeners, p)
	case *routev3.RouteConfiguration:
		set.Routes = append(set.Routes, p)
	case *tlsv3.Secret:
		set.Secrets = append(set.Secrets, p)
	case *corev3.TypedExtensionConfig:
		set.Extensions = append(set.Extensions, p)
	}
}

// lacking lists what is awaited and what was given up, each with what needs it.
func (m *machine) lacking(ev *evaluation) (pending, gone []Wait) {
	keys := make([]key, 0, len(m.waits))
	for k := range m.waits {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareKeys)
	for _, k := range keys {
		e := m.entry(k)
		w := m.waits[k]
		if !w.offered || e != nil && e.offered != nil {
			continue // only what is old needs it; or it is from the file, and runs
		}
		out := Wait{TypeURL: k.kind.typeURL(), Name: k.name, For: w.user.String(), Since: w.since}
		if j := ev.m.absence(k, e); j.verdict == missing {
			out.Reason = j.reason
			gone = append(gone, out)
			continue
		}
		pending = append(pending, out)
	}
	return pending, gone
}

// done tells how the candidate fared. err is nil if it runs now.
func (m *machine) done(now time.Time, err error) {
	a := m.attempt
	m.attempt = nil
	if a == nil {
		return
	}
	if err == nil {
		m.succeed(now, a)
		return
	}
	m.events.failures++
	m.reshaped, m.moved = true, true
	if m.blame(a, asFound(err)) {
		return
	}
	m.split(now, a, err)
}

// succeed makes the candidate what runs.
func (m *machine) succeed(now time.Time, a *candidate) {
	m.each(func(e *entry) {
		if v := a.chosen[e.key]; v == nil && e.running != nil {
			e.running, m.reshaped = nil, true
		}
	})
	for k, v := range a.chosen {
		e := m.make(k)
		if e.running == nil || !e.running.refs.equal(v.refs) {
			m.reshaped = true
		}
		e.running = v
	}
	m.running = len(a.chosen)
	if len(m.isolating) > 0 {
		m.isolating, m.moved = m.isolating[1:], true
	}
	m.applied.ever, m.applied.at = true, now
	if m.stream.open {
		m.applied.server = m.stream.server
	}
	m.todo.persist = m.online
}

// asFound gives all resource errors within an error.
func asFound(err error) resource.Errors {
	if errs, ok := errors.AsType[resource.Errors](err); ok {
		return errs
	}
	if one, ok := errors.AsType[*resource.Error](err); ok {
		return resource.Errors{one}
	}
	return nil
}

// blame takes the resources that the errors name back, if they are new. It
// reports whether there were any.
func (m *machine) blame(a *candidate, errs resource.Errors) bool {
	guilty := make(map[key]resource.Errors)
	for _, err := range errs {
		k, ok := kindOf(err.TypeURL)
		if !ok {
			continue
		}
		at := key{k, err.Name}
		if m.isNew(a, at) {
			guilty[at] = append(guilty[at], err)
		}
	}
	for k, errs := range guilty {
		m.refuse(k, a.chosen[k], errs)
	}
	return len(guilty) > 0
}

// refuse takes a version back that could not be made to run. If a newer one has
// come meanwhile, that stays offered.
func (m *machine) refuse(k key, v *version, errs resource.Errors) {
	v.refused = errs
	if e := m.entry(k); e != nil && e.offered == v {
		e.refuse(errs, m.changes)
	}
}

// isNew reports whether the candidate has another version of a resource than
// the one that runs.
func (m *machine) isNew(a *candidate, k key) bool {
	v := a.chosen[k]
	if v == nil || v.synthetic {
		return false
	}
	e := m.entry(k)
	return e == nil || e.running != v
}

// split finds the culprit of an error that names nothing new, as when a new
// secret makes an old cluster impossible: the changes are tried in halves, until
// one alone is left.
func (m *machine) split(now time.Time, a *candidate, err error) {
	if len(m.isolating) > 0 {
		m.isolating = m.isolating[1:]
	}
	group := m.news(a)
	switch len(group) {
	case 0:
		// Only removals are left, or what runs cannot be made to run again.
		m.isolating = nil
		m.retryAt = now.Add(m.timeout)
	case 1:
		k := group[0]
		m.refuse(k, a.chosen[k], resource.Errors{{
			TypeURL: k.kind.typeURL(), Name: k.name, Reason: "does not go with what runs: " + err.Error(),
		}})
	default:
		half := len(group) / 2
		m.isolating = slices.Insert(m.isolating, 0, group[:half], group[half:])
	}
}

// news lists what can be held back: what is new of listeners and clusters, and
// what has changed of the rest. What others need comes first.
func (m *machine) news(a *candidate) []key {
	var out []key
	for k := range a.chosen {
		e := m.entry(k)
		if m.isNew(a, k) && (k.kind.wildcard() || e != nil && e.running != nil) {
			out = append(out, k)
		}
	}
	rank := [numKinds]int{secrets: 0, endpoints: 1, extensions: 2, clusters: 3, routes: 4, listeners: 5}
	slices.SortFunc(out, func(a, b key) int {
		return cmp.Or(cmp.Compare(rank[a.kind], rank[b.kind]), cmp.Compare(a.name, b.name))
	})
	return out
}
