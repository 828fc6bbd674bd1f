// Package soap reads and writes messages of SOAP 1.1 and 1.2 as trees of package
// value.
package soap

import "github.com/dragoman-mesh/dragoman/pkg/transform/xml"

// Options say how a message is made of a tree, and a tree of a message.
type Options struct {
	// XML of what is in the body. Its Root is not used.
	XML xml.Options
	// Version of messages that are written, 1.1 if empty. Both are read if it is
	// empty, else only that.
	Version Version
	// Namespace of the operation's element, which is the default one of what is in
	// it.
	Namespace string
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
