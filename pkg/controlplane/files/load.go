package files

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/watch"
)

// Documents is all that files say.
type Documents struct {
	things map[inventory.Ref]any
	// Objects are the mesh objects, in the order of files and lines.
	Objects []mesh.Object
	// Nodes are the proxies outside Kubernetes; never nil.
	Nodes *trust.Nodes
}

// Count is the number of things in the documents.
func (d *Documents) Count() int { return len(d.things) }

// Inventory is all of it in a store.
func (d *Documents) Inventory() *inventory.Store {
	s := inventory.NewStore()
	for ref, thing := range d.things {
		put(s, ref, thing, change{})
	}
	return s
}

// Load reads the documents in files and folders, and a file of nodes unless its
// name is "". The error is everything that is wrong.
func Load(paths []string, nodesFile string) (*Documents, error) {
	names, err := watch.Expand(paths)
	errs := []error{err}
	b := newBuilder()
	var found mesh.Errors
	for _, name := range names {
		data, err := watch.Read(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found = append(found, b.file(name, data)...)
	}
	if missing := b.join(); len(found) == 0 {
		found = missing // or what is missing is only what could not be read
	}
	found = append(found, mesh.Validate(b.objects, mesh.InCluster())...)
	nodes, err := b.nodes(nodesFile)
	slices.SortStableFunc(found, func(a, b *mesh.Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	errs = append(errs, found.Err(), err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Documents{things: b.things, Objects: b.objects, Nodes: nodes}, nil
}

// builder gathers what documents say.
type builder struct {
	things  map[inventory.Ref]any
	objects []mesh.Object
	from    map[string]*document // by kind and name

	services  map[inventory.Key]*kube.Service
	slices    map[inventory.Key][]*kube.Slice
	sliceFrom map[inventory.Key]*document
}

func newBuilder() *builder {
	return &builder{
		things: map[inventory.Ref]any{}, from: map[string]*document{},
		services: map[inventory.Key]*kube.Service{}, slices: map[inventory.Key][]*kube.Slice{},
		sliceFrom: map[inventory.Key]*document{},
	}
}

func (b *builder) file(name string, data []byte) mesh.Errors {
	docs, errs := split(name, data)
	for i := range docs {
		errs = append(errs, b.read(&docs[i])...)
	}
	return errs
}

// join gives Services their endpoints.
func (b *builder) join() mesh.Errors {
	var errs mesh.Errors
	for key, service := range b.services {
		b.things[inventory.Ref{Kind: inventory.KindService, Key: key}] = service.Join(b.slices[key], b)
	}
	for _, key := range slices.SortedFunc(maps.Keys(b.slices), compareKeys) {
		if b.services[key] == nil {
			d := b.sliceFrom[key]
			errs = append(errs, d.fail(d.at("metadata.name"), "metadata", fmt.Sprintf("has endpoints of a Service %s that is not there", key),
				"write the Service, too"))
		}
	}
	return errs
}

func compareKeys(a, b inventory.Key) int {
	return inventory.Ref{Key: a}.Compare(inventory.Ref{Key: b})
}

// PodLabels implements kube.Surroundings.
func (b *builder) PodLabels(pod inventory.Key) map[string]string {
	if p, ok := b.things[inventory.Ref{Kind: inventory.KindPod, Key: pod}].(*inventory.Pod); ok {
		return p.Labels
	}
	return nil
}

// NodeZone implements kube.Surroundings: files say zones at the endpoints.
func (b *builder) NodeZone(string) string { return "" }

// nodes reads the file of nodes, each of which is a pod in the inventory.
func (b *builder) nodes(file string) (*trust.Nodes, error) {
	if file == "" {
		return &trust.Nodes{}, nil
	}
	nodes, err := trust.ReadNodes(file)
	if err != nil {
		return nil, err
	}
	for _, pod := range nodes.Pods() {
		ref := inventory.Ref{Kind: inventory.KindPod, Key: pod.Key}
		if _, ok := b.things[ref]; ok {
			return nil, fmt.Errorf("%s: %w: node %s has the name of a Pod", file, trust.ErrNodes, pod.Key)
		}
		b.things[ref] = pod
	}
	return nodes, nil
}
