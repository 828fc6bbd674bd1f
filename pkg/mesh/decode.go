package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

// Option changes what is allowed.
type Option func(*options)

type options struct {
	services bool
	read     ReadFile // nil: no files are read
}

// ReadFile reads a file that a document names: the path of what it has read, and what
// is in it, of which it may leave out what is beyond limit bytes. A name that is not
// absolute begins at the document's folder.
type ReadFile func(document, name string, limit int) (path string, data []byte, err error)

// WithFiles lets documents name files that become a part of them.
func WithFiles(read ReadFile) Option { return func(o *options) { o.read = read } }

// InCluster allows references to Services and Secrets, which only a control
// plane can follow.
func InCluster() Option { return func(o *options) { o.services = true } }

func collect(opts []Option) options {
	var o options
	for _, set := range opts {
		set(&o)
	}
	return o
}

// Decode reads all documents of one file and checks each by itself. Objects
// with errors are among the result as far as they could be read, so that
// Validate can look at all: only where both return no error may the objects be
// used.
func Decode(file string, data []byte, opts ...Option) ([]Object, Errors) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var objs []Object
	var errs Errors
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return objs, errs.sorted()
		}
		if err != nil {
			return objs, append(errs, syntaxError(file, data, err)).sorted()
		}
		if empty(&doc) {
			continue
		}
		obj, found := decodeDocument(file, doc.Content[0], collect(opts))
		errs = append(errs, found...)
		if obj != nil {
			objs = append(objs, obj)
		}
	}
}

// empty reports whether a document holds nothing, or comments alone.
func empty(doc *yaml.Node) bool {
	return len(doc.Content) == 0 ||
		doc.Content[0].Kind == yaml.ScalarNode && doc.Content[0].ShortTag() == "!!null"
}

// syntaxError turns yaml's message into an Error.
func syntaxError(file string, data []byte, err error) *Error {
	line, reason := problem.YAML(data, err)
	e := &Error{File: file, Line: line, Reason: "not valid YAML: " + reason}
	if line > 0 {
		e.Column = 1
	}
	return e
}

func decodeDocument(file string, root *yaml.Node, o options) (Object, Errors) {
	w := newWalker(file)
	switch kind := w.kind(root); kind {
	case KindAmbassador:
		a := &Ambassador{}
		return a, w.read(root, a, func() Errors { return checkAmbassador(a, o) })
	case KindAdapter:
		a := &Adapter{}
		return a, w.read(root, a, func() Errors { return checkAdapter(a, o) })
	case "":
		w.fail(root, "kind", "is missing", oneOf([]string{KindAmbassador, KindAdapter}))
	default:
		w.fail(root, "kind", fmt.Sprintf("unknown kind %q", clip(kind)), hintOf(kind, []string{KindAmbassador, KindAdapter}))
	}
	return nil, w.errs
}

// read fills an object and checks it.
func (w *walker) read(root *yaml.Node, obj Object, check func() Errors) Errors {
	w.decode(root, obj)
	if m := obj.Meta(); m.Namespace == "" {
		m.Namespace = DefaultNamespace
	}
	src := obj.source()
	*src = source{file: w.file, pos: w.pos, checked: true, broken: len(w.errs) > 0}
	errs := w.finish(obj.Key(), check())
	src.broken = len(errs) > 0
	return errs
}

// finish adds the errors of the second look at an object, but for those that
// only follow from what could not be read in the first.
func (w *walker) finish(object string, second Errors) Errors {
	first := w.errs
	for _, e := range second {
		follows := slices.ContainsFunc(first, func(f *Error) bool {
			return f.Path == e.Path || isWithin(f.Path, e.Path) || isWithin(e.Path, f.Path)
		})
		if !follows {
			w.errs = append(w.errs, e)
		}
	}
	for _, e := range w.errs {
		e.Object = object
	}
	return w.errs
}

// isWithin reports whether a field lies inside another.
func isWithin(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '[')
}
