package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// States of a proxy.
const (
	Synced = "synced" // it runs what it is to run
	Stale  = "stale"  // something is on its way
	NACKed = "nacked" // it has refused something
)

// Proxy is a connected proxy, for people and their scripts.
type Proxy struct {
	ID          string    `json:"id"`       // what it calls itself
	Identity    string    `json:"identity"` // what it was found to be
	Namespace   string    `json:"namespace"`
	Pod         string    `json:"pod,omitempty"`
	Remote      string    `json:"remote"`
	Protocol    string    `json:"protocol"`
	State       string    `json:"state"`
	Version     string    `json:"version"` // of what it is to run
	Since       time.Time `json:"since"`
	LastContact time.Time `json:"lastContact"`
	// Environments are those of the objects that it gets.
	Environments []Environment `json:"environments,omitempty"`
	Refusals     []Refusal     `json:"refusals,omitempty"`
	Types        []Type        `json:"types,omitempty"`
}

// Environment is where an object leads for a proxy, or why it does not get it.
type Environment struct {
	Object      string `json:"object"`
	Environment string `json:"environment,omitempty"`
	Source      string `json:"source,omitempty"`
	Reason      string `json:"reason,omitempty"`
	Message     string `json:"message,omitempty"`
}

// Refusal is the last NACK of a type.
type Refusal struct {
	Type      string    `json:"type"`
	Message   string    `json:"message"`
	Resources []string  `json:"resources"`
	At        time.Time `json:"at"`
}

// Type is how far a type has come.
type Type struct {
	Type    string `json:"type"`
	Current int    `json:"current"` // resources that it follows and that are there
	Acked   int    `json:"acked"`
	Refused int    `json:"refused"`
	Waiting int    `json:"waiting"`
}

// Proxies lists those that are connected, by identity.
func (e *Engine) Proxies(ctx context.Context) []Proxy {
	type seen struct {
		stream *server.Node
		proxy  Proxy
	}
	var list []seen
	e.do(ctx, func() {
		versions := map[*kind]string{}
		for _, n := range e.nodes {
			p := Proxy{Namespace: n.identity.Namespace, Pod: n.identity.Pod}
			if n.kind != nil {
				if len(n.wants) > 0 || n.kind.local() {
					p.Version = e.versionOf(e.namesFor(n))
				} else if versions[n.kind] == "" {
					versions[n.kind] = e.versionOf(n.kind.names(n.spot()))
				}
				p.Version = cmp.Or(p.Version, versions[n.kind])
				p.Environments = n.kind.environments()
			}
			list = append(list, seen{n.stream, p})
		}
	})
	out := make([]Proxy, 0, len(list))
	for _, s := range list {
		s.proxy.complete(s.stream.Status())
		out = append(out, s.proxy)
	}
	slices.SortFunc(out, func(a, b Proxy) int {
		return strings.Compare(a.Identity+separator+a.ID+separator+a.Remote, b.Identity+separator+b.ID+separator+b.Remote)
	})
	return out
}

// complete adds what the server knows.
func (p *Proxy) complete(s server.NodeStatus) {
	p.ID, p.Identity, p.Remote, p.Protocol = printable(s.ID), s.Identity, s.Remote, s.Protocol.String()
	p.Since, p.LastContact = s.Since, s.LastContact
	p.State = Stale
	if s.Synced() {
		p.State = Synced
	}
	for _, t := range s.Types {
		name := shortType(t.TypeURL)
		p.Types = append(p.Types, Type{name, t.Current, t.Acked, t.Refused, t.Waiting})
		if t.Refusal == nil {
			continue
		}
		p.State = NACKed
		r := Refusal{Type: name, Message: printable(t.Refusal.Message), At: t.Refusal.At}
		for _, k := range t.Refusal.Keys {
			r.Resources = append(r.Resources, wireName(k.ID))
		}
		p.Refusals = append(p.Refusals, r)
	}
}

func wireName(id string) string {
	name, _, _ := strings.Cut(id, separator)
	return name
}

func shortType(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '.')+1:] }

func (k *kind) environments() []Environment {
	out := make([]Environment, 0, len(k.choices))
	for i := range k.choices {
		c := &k.choices[i]
		out = append(out, Environment{named(c.object), c.variant.environment, c.variant.source, c.reason, c.message})
	}
	return out
}

// versionOf is a hash of all that names stand for.
func (e *Engine) versionOf(names map[string]map[string]string) string {
	h := sha256.New()
	for _, typeURL := range slices.Sorted(maps.Keys(names)) {
		for _, name := range slices.Sorted(maps.Keys(names[typeURL])) {
			p := e.resources[server.Key{TypeURL: typeURL, ID: names[typeURL][name]}]
			if p != nil && p.current != nil {
				_, _ = h.Write([]byte(typeURL + separator + name + separator + p.current.Version() + "\n")) // never fails
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// Dump is what is published, without what is secret.
type Dump struct {
	Resources []DumpedResource            `json:"resources"`
	Objects   map[string]inventory.Status `json:"objects"`
}

// DumpedResource is one resource.
type DumpedResource struct {
	Type     string          `json:"type"`
	Name     string          `json:"name"`
	Variant  []string        `json:"variant,omitempty"` // environment and what chose it, or zone and node
	Version  string          `json:"version"`
	Users    []string        `json:"users"` // objects
	Resource json.RawMessage `json:"resource"`
}

// Dump gives everything that is published, sorted.
func (e *Engine) Dump(ctx context.Context) Dump {
	type seen struct {
		DumpedResource
		current *server.Resource
	}
	out := Dump{Objects: map[string]inventory.Status{}}
	var list []seen
	e.do(ctx, func() {
		for key, s := range e.status.said {
			out.Objects[named(key)] = s
		}
		for key, p := range e.resources {
			parts := strings.Split(key.ID, separator)
			d := DumpedResource{Type: shortType(key.TypeURL), Name: parts[0], Variant: parts[1:], Version: p.current.Version()}
			for v := range p.users {
				d.Users = append(d.Users, named(v.key.object))
			}
			slices.Sort(d.Users)
			d.Users = slices.Compact(d.Users)
			list = append(list, seen{d, p.current})
		}
	})
	slices.SortFunc(list, func(a, b seen) int {
		return strings.Compare(strings.Join(append([]string{a.Type, a.Name}, a.Variant...), separator),
			strings.Join(append([]string{b.Type, b.Name}, b.Variant...), separator))
	})
	for _, s := range list {
		s.Resource = show(s.current)
		out.Resources = append(out.Resources, s.DumpedResource)
	}
	return out
}

func show(r *server.Resource) json.RawMessage {
	m, err := (&anypb.Any{TypeUrl: r.TypeURL(), Value: r.Value()}).UnmarshalNew()
	if err != nil {
		return json.RawMessage(`"cannot be shown"`)
	}
	return resource.Show(m)
}
