package jolokia

import (
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// maxComposite bounds how deep composite attributes are read.
const maxComposite = 4

// bean reads what a document asks for.
type bean struct {
	cfg     *resource.JolokiaBean
	pattern objectName
}

func compile(cfg *resource.JolokiaBean) (*bean, error) {
	name, err := parseName(cfg.MBean)
	return &bean{cfg: cfg, pattern: name}, err
}

// read adds every attribute that is a number or a boolean, and those within
// composite ones.
func (r *bean) read(b *families.Builder, found objectName, attributes tree.Value) {
	name := r.cfg.Name
	if name == "" {
		name = families.Snake(found.domain)
		if typ, ok := found.get("type"); ok {
			name += "_" + families.Snake(typ)
		}
	}
	labels := r.labels(found)
	for a := range attributes.Children() {
		r.attribute(b, name+"_"+families.Snake(a.Key()), a, labels, 0)
	}
}

// labels are those of the document, and the properties that its pattern leaves
// open.
func (r *bean) labels(found objectName) []*dto.LabelPair {
	var kv []string
	for name, value := range r.cfg.Labels {
		kv = append(kv, name, value)
	}
	for _, p := range found.properties {
		fixed, ok := r.pattern.get(p.key)
		name := families.Name(p.key)
		if _, taken := r.cfg.Labels[name]; taken || ok && !strings.ContainsAny(fixed, "*?") {
			continue
		}
		kv = append(kv, name, p.value)
	}
	return families.Labels(kv...)
}

func (r *bean) attribute(b *families.Builder, name string, v tree.Value, labels []*dto.LabelPair, depth int) {
	if v.Kind() == tree.Object && depth < maxComposite {
		for c := range v.Children() {
			r.attribute(b, name+"_"+families.Snake(c.Key()), c, labels, depth+1)
		}
		return
	}
	if f, ok := float(v); ok {
		b.Family(name, r.cfg.Help, r.cfg.Type).Add(f, labels)
	}
}
