package xml

import (
	"errors"
	"slices"
	"strings"
)

var (
	errPrefix    = errors.New("a prefix without its namespace")
	errNamespace = errors.New("a namespace that the options do not name")
	errReserved  = errors.New("a prefix that stands for another namespace")
)

type attribute struct{ name, text string }

// naming gives elements and attributes the names that they have in the tree.
type naming struct {
	opt      *Options
	prefixes map[string]string // by namespace, of the options
	drop     func(namespace, local string) bool
	bound    []attribute // prefixes with their namespaces, those of the innermost element last
}

// use gives names by other options from here on.
func (n *naming) use(opt *Options) {
	n.opt, n.prefixes = opt, nil
	if len(opt.Namespaces) > 0 {
		n.prefixes = make(map[string]string, len(opt.Namespaces))
		for prefix, namespace := range opt.Namespaces {
			n.prefixes[namespace] = prefix
		}
	}
}

// verbatim tells whether names are as the document has them.
func (n *naming) verbatim() bool { return n.prefixes == nil && !n.opt.StripNamespaces }

func (n *naming) depth() int { return len(n.bound) }

func (n *naming) leave(depth int) { n.bound = n.bound[:depth] }

// declare takes the declarations of an element's attributes.
func (n *naming) declare(attributes []attribute) error {
	for _, a := range attributes {
		prefix, is := declared(a.name)
		if !is {
			continue
		}
		if prefix == "xmlns" || prefix == "xml" && a.text != nsXML || prefix == "xsi" && a.text != nsSchema || prefix != "" && a.text == "" {
			return errReserved
		}
		n.bound = append(n.bound, attribute{prefix, a.text})
	}
	return nil
}

// declared returns the prefix that an attribute declares.
func declared(name string) (prefix string, is bool) {
	if name == "xmlns" {
		return "", true
	}
	return strings.CutPrefix(name, "xmlns:")
}

// namespace returns what a prefix stands for here.
func (n *naming) namespace(prefix string) (string, error) {
	if prefix == "xml" {
		return nsXML, nil
	}
	for _, b := range slices.Backward(n.bound) {
		if b.name == prefix {
			return b.text, nil
		}
	}
	if prefix == "" {
		return "", nil
	}
	return "", errPrefix
}

// element returns the name of an element in a namespace.
func (n *naming) element(raw, namespace string) (string, error) {
	if n.verbatim() {
		return raw, nil
	}
	_, local := split(raw)
	return n.qualify(namespace, local)
}

func (n *naming) qualify(namespace, local string) (string, error) {
	if own, ok := n.prefixes[namespace]; ok {
		if own != "" {
			local = own + ":" + local
		}
		return local, nil
	}
	if namespace != "" && !n.opt.StripNamespaces {
		return "", errNamespace
	}
	return local, nil
}

// attribute returns the name of an attribute, and whether it is one that the
// tree has. The one that says that an element is null is "xsi:nil".
func (n *naming) attribute(raw string) (name string, keep bool, err error) {
	if prefix, is := declared(raw); is {
		namespace, _ := n.namespace(prefix)
		return raw, n.verbatim() && namespace != nsSchema, nil
	}
	prefix, local := split(raw)
	if prefix == "" {
		return local, true, nil // such are in no namespace
	}
	namespace, err := n.namespace(prefix)
	if err != nil {
		return "", false, err
	}
	switch {
	case n.drop != nil && n.drop(namespace, local):
		return "", false, nil
	case namespace == nsSchema:
		return "xsi:" + local, local == "nil" || !n.opt.StripNamespaces, nil
	case namespace == nsXML, n.verbatim():
		return raw, true, nil
	}
	name, err = n.qualify(namespace, local)
	return name, true, err
}

func split(raw string) (prefix, local string) {
	prefix, local, found := strings.Cut(raw, ":")
	if !found {
		return "", raw
	}
	return prefix, local
}
