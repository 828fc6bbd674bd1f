package proxy

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// dump is what /config_dump shows.
type dump struct {
	Version   string                     `json:"version"` // of the running configuration
	Accepted  time.Time                  `json:"accepted,omitzero"`
	Sources   []string                   `json:"sources"`
	Plane     *planeDump                 `json:"controlPlane,omitempty"`
	Facts     mesh.NodeFacts             `json:"facts"`
	Choices   []choice                   `json:"environments"`
	Refused   *refusal                   `json:"refused,omitempty"` // the last attempt, if it was
	Listeners map[string]json.RawMessage `json:"listeners"`
	Clusters  map[string]json.RawMessage `json:"clusters"`
	Endpoints map[string]json.RawMessage `json:"endpoints,omitempty"`
	Routes    map[string]json.RawMessage `json:"routes,omitempty"`
	Secrets   map[string]json.RawMessage `json:"secrets,omitempty"`
}

// choice is the environment of one listener, and what chose it.
type choice struct {
	Listener    string `json:"listener"`
	Environment string `json:"environment"`
	Source      string `json:"source"`
}

type refusal struct {
	Time   time.Time `json:"time"`
	Errors []string  `json:"errors"`
}

func (p *Proxy) dump() any {
	defer p.pages.soon()
	now := p.feed.standing()
	s := &p.state
	s.mu.Lock()
	defer s.mu.Unlock()
	d := dump{Sources: now.sources, Plane: now.plane, Facts: s.facts, Choices: []choice{}}
	if s.refused != nil {
		d.Refused = &refusal{s.refusedAt, s.refused}
	}
	snap := s.accepted
	if snap == nil {
		return d
	}
	d.Version, d.Accepted = snap.Version, s.at
	d.Listeners = map[string]json.RawMessage{}
	for _, name := range slices.Sorted(maps.Keys(snap.Listeners)) {
		l := snap.Listeners[name]
		d.Choices = append(d.Choices, choice{name, l.Environment, l.EnvironmentSource})
		d.Listeners[name] = resource.Show(l.Raw)
	}
	d.Clusters = map[string]json.RawMessage{}
	for name, c := range snap.Clusters {
		d.Clusters[name] = resource.Show(c.Raw)
	}
	d.Endpoints = map[string]json.RawMessage{}
	for name, a := range snap.Assignments {
		d.Endpoints[name] = resource.Show(a.Raw)
	}
	d.Routes = map[string]json.RawMessage{}
	for name, r := range snap.Routes {
		d.Routes[name] = resource.Show(r.Raw)
	}
	d.Secrets = map[string]json.RawMessage{}
	for name, secret := range snap.Secrets {
		if secret.Raw != nil { // otherwise it is part of another resource
			d.Secrets[name] = resource.Show(secret.Raw)
		}
	}
	return d
}
