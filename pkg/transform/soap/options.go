// Package soap reads and writes messages of SOAP 1.1 and 1.2 as trees of package
// value.
package soap

import (
	"errors"
	"fmt"
	"maps"

	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// Options say how a message is made of a tree, and a tree of a message.
type Options struct {
	// XML of what is in the body. Its Root and Item are not used, and without
	// Namespaces all prefixes are taken away from names that are read.
	XML xml.Options
	// Version of messages that are written, 1.1 if empty. Both are read if it is
	// empty, else only that.
	Version Version
	// Namespace of the operation's element, which is the default one of what is in
	// it. Read, only names count.
	Namespace string
	// Unqualified, if it is true, leaves what is in the operation's element without a
	// namespace (elementFormDefault="unqualified").
	Unqualified bool
	// Operation is the name of the element in the body. Read, it must be there,
	// and the tree is what is in it. Empty: the tree is an object with one member,
	// which is that element.
	Operation string
	// Action is the URI of the operation, a parameter of 1.2's Content-Type. Of 1.1
	// it is in the header SOAPAction, which is not a part of the body.
	Action string
	// Header, if it is true, is kept as the object's member "#header". Otherwise it is
	// left out when a message is read, unless the receiver must understand it:
	// then the message is refused.
	Header bool
}

// Version of SOAP.
type Version string

// The versions.
const (
	V11 Version = "1.1"
	V12 Version = "1.2"
)

// The namespaces of envelopes, and the prefixes that names in them have in
// trees: ones that no document has.
const (
	ns11 = "http://schemas.xmlsoap.org/soap/envelope/"
	ns12 = "http://www.w3.org/2003/05/soap-envelope"

	prefix11 = "#11"
	prefix12 = "#12"
)

// Check refuses options that cannot work, by the name of the option.
func (o *Options) Check() error {
	var errs []error
	switch o.Version {
	case "", V11, V12:
	default:
		errs = append(errs, fmt.Errorf("version: %q is not 1.1 or 1.2", o.Version))
	}
	if o.Operation != "" && !xml.IsName(o.Operation) {
		errs = append(errs, fmt.Errorf("operation: %q is no name that an element can have", o.Operation))
	}
	if o.XML.Root != "" || o.XML.Item != "" {
		errs = append(errs, errors.New("xml.root: operation takes its place"))
	}
	if _, twice := o.XML.Namespaces[""]; twice && o.Namespace != "" {
		errs = append(errs, errors.New("xml.namespaces: the default one is namespace"))
	}
	for prefix, namespace := range o.XML.Namespaces {
		if namespace == ns11 || namespace == ns12 || prefix == "soap" || prefix == operationPrefix && o.Unqualified {
			errs = append(errs, fmt.Errorf("xml.namespaces.%s: a prefix, or the namespace, that envelopes and operations have", prefix))
		}
	}
	written := o.writing("")
	if err := written.Check(); err != nil {
		errs = append(errs, fmt.Errorf("xml: %w", err))
	}
	return errors.Join(errs...)
}

// reading has the namespaces of envelopes, too.
func (o *Options) reading() *xml.Options {
	x := o.XML
	x.Namespaces = map[string]string{prefix11: ns11, prefix12: ns12}
	maps.Copy(x.Namespaces, o.XML.Namespaces)
	if len(o.XML.Namespaces) == 0 {
		x.StripNamespaces = true
	} else if o.Namespace != "" {
		x.Namespaces[""] = o.Namespace
	}
	return &x
}

// parts gives the options of one message's parts: own are those of the operation, and of
// a header that is kept. The rest is not refused for namespaces that nobody has named,
// and for elements in any order.
func (o *Options) parts(own *xml.Options) func(depth int, namespace, local string) *xml.Options {
	loose := *own
	loose.StripNamespaces = true
	if loose.Content != xml.Ordered {
		loose.Content = xml.Group
	}
	inBody := false
	return func(depth int, namespace, local string) *xml.Options {
		switch depth {
		case 0:
			return &loose
		case 1:
			if inBody = local == "Body"; !inBody && o.Header {
				return own
			}
		case 2:
			if inBody && (local != "Fault" || namespace != ns11 && namespace != ns12) {
				return own
			}
		}
		return nil
	}
}

// writing has the operation's namespace with a prefix.
func (o *Options) writing(prefix string) *xml.Options {
	x := o.XML
	if o.Namespace != "" {
		x.Namespaces = map[string]string{prefix: o.Namespace}
		maps.Copy(x.Namespaces, o.XML.Namespaces)
	}
	return &x
}

func namespaceOf(version Version) string {
	if version == V12 {
		return ns12
	}
	return ns11
}
