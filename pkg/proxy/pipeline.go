package proxy

import (
	"errors"

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
