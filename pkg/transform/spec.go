package transform

import (
	"github.com/dragoman-mesh/dragoman/pkg/transform/csv"
	"github.com/dragoman-mesh/dragoman/pkg/transform/form"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/msgpack"
	"github.com/dragoman-mesh/dragoman/pkg/transform/multipart"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// Format is what a body is written in.
type Format string

// The formats.
const (
	JSON      Format = "json"
	XML       Format = "xml"
	SOAP      Format = "soap"
	Form      Format = "form"
	Multipart Format = "multipart"
	CSV       Format = "csv"
	NDJSON    Format = "ndjson"
	MsgPack   Format = "msgpack"
)

// Side is one of the two formats, with its options. Those of other formats are
// refused.
type Side struct {
	Format    Format
	XML       *xml.Options
	SOAP      *soap.Options
	Form      *form.Options
	Multipart *multipart.Options
	CSV       *csv.Options
	MsgPack   *msgpack.Options
}

// Spec says what is made of a body.
type Spec struct {
	From, To Side
	// Map of the fields. Of NDJSON and CSV, which are records, it is that of each
	// record; of other formats that of the whole body.
	Map *mapping.Map
	// JQ is a program instead of Map. Of NDJSON and CSV it is run with each record.
	// It gives one output; for NDJSON and CSV, a record in each output. The order of
	// members gets lost: they are sorted by name.
	JQ string
	// Given are paths of the old body at which ApplyWith puts texts, in any case,
	// before the map or the program.
	Given []string
	// Limits of what a body may cost, those of value.Limits where they are 0.
	Limits value.Limits
}
