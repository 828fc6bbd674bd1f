package client

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client/diskset"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// load takes in what the file has, beneath anything that a control plane has
// sent already. The errors are of resources that are not valid (any more).
func (m *machine) load(now time.Time, set *diskset.Set) []error {
	var errs []error
	for i := range set.Resources {
		if err := m.loadOne(&set.Resources[i]); err != nil {
			errs = append(errs, err)
		}
	}
	m.loaded, m.applied.server = true, set.Server
	m.reshaped, m.moved = true, true
	if m.stream.open {
		// With delta it is told at the beginning of a stream alone what is here.
		m.todo.reopen = m.stream.mode == Delta && len(set.Resources) > 0
		for k := range m.types {
			m.types[k].confirmBy = now.Add(m.timeout)
		}
	}
	return errs
}

func (m *machine) loadOne(r *diskset.Resource) error {
	k, ok := kindOf(r.Body.GetTypeUrl())
	if !ok || k == secrets {
		return fmt.Errorf("%q: a set on disk has no %q", r.Name, r.Body.GetTypeUrl())
	}
	msg, name, found, err := m.parse[k](r.Body.GetValue())
	switch {
	case err != nil:
		return err
	case name != r.Name:
		return resource.Errors{{TypeURL: k.typeURL(), Name: r.Name, Path: "name", Reason: fmt.Sprintf("is %q", name)}}
	case len(m.types[k].entries) >= m.most:
		return fmt.Errorf("%s %q: is more than the %d resources of this type that the proxy holds", k.short(), name, m.most)
	}
	if e := m.make(key{k, name}); e.offered == nil && e.refused == nil { // else a control plane knows better
		m.offer(e, &version{key: e.key, number: r.Version, sum: sumOf(r.Body), msg: msg, refs: found, disk: true})
		m.changed(k)
	}
	return nil
}

// kept are the running resources of the types that may be written to a file.
func (m *machine) kept() []*version {
	var out []*version
	m.each(func(e *entry) {
		if e.running != nil && !e.running.synthetic && e.key.kind != secrets {
			out = append(out, e.running)
		}
	})
	return out
}

// packed is what is written of versions. What holds a secret is left out; its
// names are returned.
func packed(versions []*version, numbers []string) (out []diskset.Resource, leftOut []string, err error) {
	for i, v := range versions {
		if path := diskset.Sensitive(v.msg); path != "" {
			leftOut = append(leftOut, v.key.String()+": "+path)
			continue
		}
		body, err := anypb.New(v.msg)
		if err != nil {
			return nil, nil, fmt.Errorf("encoding %s: %w", v.key, err)
		}
		out = append(out, diskset.Resource{Name: v.key.name, Version: numbers[i], Body: body})
	}
	return out, leftOut, nil
}
