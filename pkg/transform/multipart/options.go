// Package multipart reads and writes multipart/form-data (RFC 7578) as trees of
// package value.
package multipart

import "github.com/dragoman-mesh/dragoman/pkg/transform/fields"

// Options say how parts are made of a tree, and a tree of parts.
type Options = fields.Options
