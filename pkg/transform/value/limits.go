package value

// Limits bound what a document may cost. Zero is the default of each.
type Limits struct {
	// Bytes of a document that is read, 10 MiB. A stream has no such bound.
	Bytes int
	// Record bytes, of one record of a stream, 1 MiB.
	Record int
	// Output bytes that a document may become, 32 MiB: a list's name is written
	// for each of its elements in XML.
	Output int
	// Depth of lists and objects in each other, 100.
	Depth int
	// Nodes, of a document or record, 262144: some 70 bytes of memory each.
	Nodes int
	// Name bytes, 1024.
	Name int
	// Number bytes, 512. An exponent has four digits at most.
	Number int
}

// OrDefault fills in what is not said.
func (l Limits) OrDefault() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.Bytes, 10 << 20},
		{&l.Record, 1 << 20},
		{&l.Output, 32 << 20},
		{&l.Depth, 100},
		{&l.Nodes, 1 << 18},
		{&l.Name, 1024},
		{&l.Number, 512},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return l
}
