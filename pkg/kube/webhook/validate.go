package webhook

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Validator refuses mesh objects that are wrong, with the words of the commands
// named validate.
type Validator struct {
	Store *inventory.Store
}

// Validate looks at an object as it is about to be stored. The error is all that
// is wrong with it.
func (v *Validator) Validate(raw []byte) (warnings []string, err error) {
	var in unstructured.Unstructured
	if err := json.Unmarshal(raw, &in.Object); err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	o := kube.ObjectOf(&in)
	if o.Err != nil {
		return nil, o.Err
	}
	return v.collisions(o.Object), nil
}

// wrongBefore reports whether an object with errors was stored with the same spec already,
// and had errors then: somebody changes its labels, or takes off a finalizer so that it can go.
func (v *Validator) wrongBefore(now, before []byte) bool {
	var a, b struct {
		Spec any `json:"spec"`
	}
	if json.Unmarshal(now, &a) != nil || json.Unmarshal(before, &b) != nil || !reflect.DeepEqual(a.Spec, b.Spec) {
		return false
	}
	_, err := v.Validate(before)
	return err != nil
}

// collisions are other objects that take the same address, which is wrong only
// where both select the same pod. Which pods will come nobody can know: hence no
// more than a warning.
func (v *Validator) collisions(object mesh.Object) []string {
	mine := address(object)
	var out []string
	for _, kind := range []inventory.Kind{inventory.KindAmbassador, inventory.KindAdapter} {
		for _, ref := range v.Store.Refs(kind) {
			other := inventory.Get[*inventory.Object](v.Store, ref)
			same := ref == inventory.RefOf(object)
			if same || other == nil || other.Err != nil || ref.Namespace != object.Meta().Namespace || mine == "" || address(other.Object) != mine {
				continue
			}
			out = append(out, fmt.Sprintf("dragoman: %s %s listens on %s, too: a pod that both select runs only one of them", kind, ref.Name, mine))
		}
	}
	slices.Sort(out)
	return out
}

// address is where an object listens.
func address(object mesh.Object) string {
	switch o := object.(type) {
	case *mesh.Ambassador:
		if o.Spec.Listen.Path != "" {
			return o.Spec.Listen.Path
		}
		return fmt.Sprintf("port %d", o.Spec.Listen.Port)
	case *mesh.Adapter:
		if m := o.Spec.Metrics; m != nil {
			return fmt.Sprintf("port %d", m.Listen.Port)
		}
		if a := o.Spec.API; a != nil && a.Listen.Path == "" {
			return fmt.Sprintf("port %d", a.Listen.Port)
		}
	}
	return ""
}
