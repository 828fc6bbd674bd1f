package proxy

import (
	"errors"
	"maps"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// Snapshot takes documents through the pipeline as far as it is pure: to
// resources, and from them to a validated snapshot. Standalone an object
// without an environment refuses all, so that nobody is left with half of what
// the files say.
func Snapshot(objs []mesh.Object, facts mesh.NodeFacts) (*snapshot.Snapshot, error) {
	return built(translate.Translate(objs, translate.Node{Facts: facts}, nil))
}

// built makes a snapshot of resources, unless a condition is false.
func built(set resource.Set, conditions []translate.Condition) (*snapshot.Snapshot, error) {
	var errs []error
	for i, c := range conditions {
		if !c.Status && (i == 0 || conditions[i-1].Status || conditions[i-1].Object != c.Object) {
			errs = append(errs, errors.New(c.Message))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return snapshot.Build(set)
}

// Check validates what a source holds: for the environment that facts name, or
// for every environment of every object when they name none.
func Check(source Source, facts mesh.NodeFacts) (objects int, err error) {
	objs, err := source.Load()
	if err != nil {
		return len(objs), err
	}
	if facts != (mesh.NodeFacts{}) {
		_, err := Snapshot(objs, facts)
		return len(objs), errors.Join(append(descriptorErrors(objs), err)...)
	}
	errs := descriptorErrors(objs)
	for _, obj := range objs {
		environments := []string{""} // an Adapter is the same in all
		if a, ok := obj.(*mesh.Ambassador); ok {
			environments = slices.Sorted(maps.Keys(a.Spec.Environments))
		}
		for _, name := range environments {
			out := translate.ObjectOf(objs, obj, translate.Variant{Environment: name})
			if _, err := built(out.Set, out.Conditions); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return len(objs), errors.Join(errs...)
}
