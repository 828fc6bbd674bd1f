// Package csv reads and writes CSV (RFC 4180) as trees of package value.
package csv

import "github.com/dragoman-mesh/dragoman/pkg/transform/fields"

// Options say how records are made of a tree, and a tree of records.
type Options struct {
	// Delimiter between fields, one character, a comma if empty.
	Delimiter string
	// Columns are the names of the fields, in order. Read, they are what the first
	// line must have, in any order, or what stands for it. Absent: the first line
	// says; written, the members of the first record.
	Columns []string
	// NoHeader is for CSV without a first line of names. Without Columns, records
	// are lists.
	NoHeader bool
	// Nested objects are columns named by dots ("address.city") if this is
	// fields.Dots, and refused if it is empty.
	Nested fields.Nested
	// Nulls: fields without text if empty, or refused.
	Nulls fields.Nulls
}
