// Package form reads and writes application/x-www-form-urlencoded as trees of
// package value.
package form

import "github.com/dragoman-mesh/dragoman/pkg/transform/fields"

// Options say how fields are made of a tree, and a tree of fields.
type Options = fields.Options
