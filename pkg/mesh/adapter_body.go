package mesh

// BodyTransform makes a body of another.
type BodyTransform struct {
	// From is what comes; none: there is no body, and what is made has values alone.
	From BodyFormat `json:"from"`
	To   BodyFormat `json:"to"`
	// Values are fields of the old body that get texts with values of the request in
	// them, as in {order.id: "{id}"}, before the map or the program. Where a value is
	// not there, neither is the field.
	// +kubebuilder:validation:MaxProperties=64
	Values map[string]string `json:"values,omitempty"`
	// Map of the fields; absent: all keep their names and values. Of csv and ndjson
	// it is that of each record.
	Map *BodyMap `json:"map,omitempty"`
	// JQ is a program of jq instead of the map. Functions that have no bound are
	// refused: range, recurse, while, until, repeat, env, input and the like.
	// +kubebuilder:validation:MaxLength=4096
	JQ string `json:"jq,omitempty"`
	// AsIs lets bodies pass unchanged that are in the other format: a request that is
	// in to already, and a response in from where Accept prefers that. By default
	// they get 415 and 406: they would pass by the map.
	AsIs bool `json:"asIs,omitempty"`

	// XML says how the side is written that is xml, or what is in the envelope of soap.
	XML *XMLOptions `json:"xml,omitempty"`
	// SOAP says how the side is written that is soap.
	SOAP      *SOAPOptions    `json:"soap,omitempty"`
	Form      *FieldsOptions  `json:"form,omitempty"`
	Multipart *FieldsOptions  `json:"multipart,omitempty"`
	CSV       *CSVOptions     `json:"csv,omitempty"`
	MsgPack   *MsgPackOptions `json:"msgpack,omitempty"`
}

// +kubebuilder:validation:Enum=none;json;xml;soap;form;multipart;csv;ndjson;msgpack

// BodyFormat is what a body is written in.
type BodyFormat string

// The formats.
const (
	BodyNone      BodyFormat = "none" // no body; only from
	BodyJSON      BodyFormat = "json"
	BodyXML       BodyFormat = "xml"
	BodySOAP      BodyFormat = "soap"      // XML in the envelope of SOAP
	BodyForm      BodyFormat = "form"      // application/x-www-form-urlencoded
	BodyMultipart BodyFormat = "multipart" // the fields of multipart/form-data
	BodyCSV       BodyFormat = "csv"
	BodyNDJSON    BodyFormat = "ndjson"  // a JSON value in each line
	BodyMsgPack   BodyFormat = "msgpack" // MessagePack
)

// Values lists the formats.
func (BodyFormat) Values() []string {
	return []string{"none", "json", "xml", "soap", "form", "multipart", "csv", "ndjson", "msgpack"}
}

// BodyMap changes the fields of a body, in the order in which the steps stand
// here. A field is named by its path: names with dots between them, and [] after
// that of a list for each of its elements, as in "order.items[].sku". "." is all
// of it; a dot, bracket or backslash in a name has a backslash before it.
type BodyMap struct {
	// Drop removes fields of the old body.
	// +kubebuilder:validation:MaxItems=256
	Drop []string `json:"drop,omitempty"`
	// Move takes a field of the old body to its path in the new one, or renames it;
	// both paths have as many []. {"data": "."} takes what is in data out of it. An
	// object or list that is left empty goes, too.
	// +kubebuilder:validation:MaxProperties=256
	Move map[string]string `json:"move,omitempty"`
	// Default gives fields of the new body that are absent a value, as text.
	// +kubebuilder:validation:MaxProperties=256
	Default map[string]string `json:"default,omitempty"`
	// Constant gives fields of the new body a value, as text, in any case.
	// +kubebuilder:validation:MaxProperties=256
	Constant map[string]string `json:"constant,omitempty"`
	// Coerce makes values of the new body ones of another type. Numbers keep their
	// digits.
	// +kubebuilder:validation:MaxProperties=256
	Coerce map[string]ValueType `json:"coerce,omitempty"`
	// List names fields of the new body that are lists even with one element, which
	// XML cannot tell from a field that is none.
	// +kubebuilder:validation:MaxItems=256
	List []string `json:"list,omitempty"`
	// Each is a map for each element of a list of the new body, of which the element
	// is all.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Each map[string]*BodyMap `json:"each,omitempty"`
}

// +kubebuilder:validation:Enum=string;number;boolean;bytes

// ValueType is a type of JSON.
type ValueType string

// The types.
const (
	ValueString  ValueType = "string"
	ValueNumber  ValueType = "number"
	ValueBoolean ValueType = "boolean"
	ValueBytes   ValueType = "bytes" // read from base64, for msgpack
)

// Values lists the types.
func (ValueType) Values() []string { return []string{"string", "number", "boolean", "bytes"} }

// XMLOptions say what XML becomes, and what becomes XML.
type XMLOptions struct {
	// Root is the name of the element around all. Absent: the body is an object with
	// one member, which is that element.
	// +kubebuilder:validation:MaxLength=256
	Root string `json:"root,omitempty"`
	// Item is the name of the elements of a list at the top.
	// +kubebuilder:validation:MaxLength=256
	Item string `json:"item,omitempty"`
	// Attribute is what the names of attributes begin with; default @.
	// +kubebuilder:validation:MaxLength=16
	Attribute string `json:"attribute,omitempty"`
	// Text is the name of the text of an element that has attributes; default #text.
	// +kubebuilder:validation:MaxLength=64
	Text string `json:"text,omitempty"`
	// Content says what becomes of elements of one name with others between them and
	// of text between elements; default strict.
	Content XMLContent `json:"content,omitempty"`
	// Namespaces are the prefixes that names of the body have, and the namespaces
	// they stand for; the prefix "" is none.
	// +kubebuilder:validation:MaxProperties=32
	Namespaces map[string]string `json:"namespaces,omitempty"`
	// StripNamespaces takes prefixes and declarations away that are none of
	// namespaces.
	StripNamespaces bool `json:"stripNamespaces,omitempty"`
	// Nulls says what becomes of null; default nil.
	Nulls XMLNulls `json:"nulls,omitempty"`
}

// +kubebuilder:validation:Enum=strict;group;ordered

// XMLContent is what becomes of what the members of an object cannot say: it is
// refused (strict), elements are grouped and text joined (group), or it is a list
// in its order (ordered).
type XMLContent string

// Values lists them.
func (XMLContent) Values() []string { return []string{"strict", "group", "ordered"} }

// +kubebuilder:validation:Enum=nil;empty;omit

// XMLNulls is what becomes of null: xsi:nil (nil), an empty element, or nothing.
type XMLNulls string

// Values lists them.
func (XMLNulls) Values() []string { return []string{"nil", "empty", "omit"} }

// SOAPOptions say what SOAP becomes, and what becomes SOAP.
type SOAPOptions struct {
	// Version that is written; default 1.1. Read are both, if it is absent.
	Version SOAPVersion `json:"version,omitempty"`
	// Namespace of the operation.
	// +kubebuilder:validation:MaxLength=1024
	Namespace string `json:"namespace,omitempty"`
	// Operation is the name of the element in the body of the envelope, in which the
	// fields are. Absent: they are an object with one member, which is that element.
	// +kubebuilder:validation:MaxLength=256
	Operation string `json:"operation,omitempty"`
	// Action is the URI of the operation: the header SOAPAction of 1.1, a parameter of
	// the content type of 1.2.
	// +kubebuilder:validation:MaxLength=1024
	Action string `json:"action,omitempty"`
	// Unqualified leaves the fields without the namespace of the operation
	// (elementFormDefault="unqualified").
	Unqualified bool `json:"unqualified,omitempty"`
	// Header keeps the header of the envelope as the member "#header".
	Header bool `json:"header,omitempty"`
}

// +kubebuilder:validation:Enum="1.1";"1.2"

// SOAPVersion is a version of SOAP.
type SOAPVersion string

// Values lists the versions.
func (SOAPVersion) Values() []string { return []string{"1.1", "1.2"} }

// FieldsOptions say what forms become, and what becomes a form.
type FieldsOptions struct {
	// Nested says how fields of objects and lists are named; absent: they are refused.
	Nested Nesting `json:"nested,omitempty"`
	// Nulls says what becomes of null; default omit.
	Nulls FieldNulls `json:"nulls,omitempty"`
}

// +kubebuilder:validation:Enum=dots;brackets

// Nesting is how the names of fields within fields are written: address.city or
// address[city].
type Nesting string

// Values lists them.
func (Nesting) Values() []string { return []string{"dots", "brackets"} }

// +kubebuilder:validation:Enum=omit;empty;refuse

// FieldNulls is what becomes of null: no field, an empty one, or an error.
type FieldNulls string

// Values lists them.
func (FieldNulls) Values() []string { return []string{"omit", "empty", "refuse"} }

// CSVOptions say what CSV becomes, and what becomes CSV.
type CSVOptions struct {
	// Delimiter between fields; default a comma.
	// +kubebuilder:validation:MaxLength=1
	Delimiter string `json:"delimiter,omitempty"`
	// Columns are the names of the fields, in order; absent: the first line has them.
	// +kubebuilder:validation:MaxItems=1024
	Columns []string `json:"columns,omitempty"`
	// NoHeader is for CSV whose first line is a record already.
	NoHeader bool `json:"noHeader,omitempty"`
	// Nested objects as columns; absent: they are refused.
	Nested Nesting `json:"nested,omitempty"`
	// Nulls says what becomes of null; default empty.
	Nulls FieldNulls `json:"nulls,omitempty"`
}

// MsgPackOptions say what becomes MessagePack.
type MsgPackOptions struct {
	// Round lets numbers become the nearest double that MessagePack cannot keep
	// otherwise; by default they are refused.
	Round bool `json:"round,omitempty"`
}
