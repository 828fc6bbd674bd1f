package proxy

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
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
		d.Listeners[name] = showProto(l.Raw)
	}
	d.Clusters = map[string]json.RawMessage{}
	for name, c := range snap.Clusters {
		d.Clusters[name] = showProto(c.Raw)
	}
	d.Endpoints = map[string]json.RawMessage{}
	for name, a := range snap.Assignments {
		d.Endpoints[name] = showProto(a.Raw)
	}
	d.Secrets = map[string]json.RawMessage{}
	for name, secret := range snap.Secrets {
		if secret.Raw != nil { // otherwise it is part of another resource
			d.Secrets[name] = showProto(secret.Raw)
		}
	}
	return d
}

// showProto is a resource in JSON, with every inline value of a data source
// left out: it may be a password or a key.
func showProto(m proto.Message) json.RawMessage {
	clean := proto.Clone(m)
	redact(clean.ProtoReflect())
	b, err := protojson.Marshal(clean)
	if err != nil {
		b, _ = json.Marshal("cannot be shown: " + err.Error()) // a string
	}
	return b
}

const redacted = "[redacted]"

// redact walks a message, into packed ones as well.
func redact(m protoreflect.Message) {
	switch v := m.Interface().(type) {
	case *corev3.DataSource:
		redactSource(v)
		return
	case *anypb.Any:
		redactAny(v)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, item protoreflect.Value) bool {
					redact(item.Message())
					return true
				})
			}
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				redact(v.List().Get(i).Message())
			}
		default:
			redact(v.Message())
		}
		return true
	})
}

func redactSource(d *corev3.DataSource) {
	switch d.GetSpecifier().(type) {
	case *corev3.DataSource_InlineBytes, *corev3.DataSource_InlineString:
		d.Specifier = &corev3.DataSource_InlineString{InlineString: redacted}
	}
}

// redactAny drops what it cannot look into.
func redactAny(a *anypb.Any) {
	inner, err := a.UnmarshalNew()
	if err != nil {
		a.Value = nil
		return
	}
	redact(inner.ProtoReflect())
	if err := a.MarshalFrom(inner); err != nil {
		a.Value = nil
	}
}
