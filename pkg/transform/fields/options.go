// Package fields makes flat lists of names and texts, as forms and CSV have them,
// of trees of package value, and trees of such lists.
package fields

// Options say how. The zero value refuses objects within the object.
type Options struct {
	// Nested says how the names of fields within objects are written.
	Nested Nested
	// Nulls says what becomes of null.
	Nulls Nulls
}

// Nested is how names within names are written.
type Nested string

// Ways to write them.
const (
	Flat     Nested = ""         // they are refused
	Dots     Nested = "dots"     // address.city
	Brackets Nested = "brackets" // address[city], items[0][sku]; tags[] for lists of texts
)

// Nulls is what becomes of null.
type Nulls string

// What null becomes.
const (
	NullOmit   Nulls = "omit"   // no field; and if empty
	NullEmpty  Nulls = "empty"  // a field without text
	NullRefuse Nulls = "refuse" // an error
)
