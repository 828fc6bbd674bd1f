package mesh

// Object is one document: an *Ambassador or an *Adapter.
type Object interface {
	// Meta is never nil; its Namespace is never "" once decoded.
	Meta() *Metadata
	// Key is "namespace/name". Objects of different kinds may have the same.
	Key() string

	source() *source
}

// KindOf is the kind of an object's document.
func KindOf(obj Object) string {
	if _, ok := obj.(*Adapter); ok {
		return KindAdapter
	}
	return KindAmbassador
}

// Metadata is the part of Kubernetes' ObjectMeta that means something here. The
// rest of it may be there and is not looked at.
type Metadata struct {
	Name        string            `json:"name"`
	Namespace   string            `json:"namespace,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Ambassador is one localhost port and what it leads to in each environment.
type Ambassador struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   Metadata       `json:"metadata"`
	Spec       AmbassadorSpec `json:"spec"`

	src source
}

// NewAmbassador makes an object that comes from no document, so that other
// configuration formats can be translated into this one. Validate checks it
// like any other.
func NewAmbassador(name string, spec AmbassadorSpec) *Ambassador {
	return &Ambassador{
		APIVersion: APIVersion,
		Kind:       KindAmbassador,
		Metadata:   Metadata{Name: name, Namespace: DefaultNamespace},
		Spec:       spec,
	}
}

// Meta implements Object.
func (a *Ambassador) Meta() *Metadata { return &a.Metadata }

// Key implements Object.
func (a *Ambassador) Key() string { return a.Metadata.Namespace + "/" + a.Metadata.Name }

func (a *Ambassador) source() *source { return &a.src }

// source is where an object was read from; the zero value means from nowhere.
type source struct {
	file    string
	pos     map[string]position // by field path
	checked bool                // Decode validated the object
	broken  bool                // Decode found errors in it
}

type position struct{ line, column int }

// at gives the place of a field, or of the nearest field around it.
func (s *source) at(path string) position {
	for {
		if p, ok := s.pos[path]; ok {
			return p
		}
		if path == "" {
			return position{}
		}
		path = parentPath(path)
	}
}

// parentPath cuts the last ".name" or "[i]" off.
func parentPath(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return ""
}
