package transcode

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dragoman-mesh/dragoman/pkg/transform/httprule"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
)

// Match finds what a request means. path is escaped and without its query.
func (a *API) Match(method, path string) (*Call, bool) {
	b, values, ok := a.matcher.Match(method, path, nil)
	if !ok {
		return nil, false
	}
	return &Call{Binding: b, values: values}, true
}

// Call is one request.
type Call struct {
	*Binding
	values []httprule.Binding
	pieces []piece
	wire   []byte // of the pieces
	// Unknown are the parameters of the query that mean no field.
	Unknown url.Values
}

// piece is a field that path or query give.
type piece struct {
	path []*pbjson.Field
	wire []byte // the field alone, without the messages around it
}

// FieldError says which part of a request has a wrong value.
type FieldError struct {
	Field  string // path of the field in the message
	In     string // "path", "query" or "body"
	Reason string
}

// Error implements error.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.In + ": " + e.Reason
	}
	return e.In + ": " + e.Field + ": " + e.Reason
}

// RequestOptions say how requests are read.
type RequestOptions struct {
	Read pbjson.ReadOptions
	// Plus makes a + in the query a space.
	Plus bool
	// Ignored parameters of the query.
	Ignored []string
	// RejectCollisions refuses a body that says of a field what the path or the
	// query says otherwise.
	RejectCollisions bool
}

// maxParameters bounds a query.
const maxParameters = 1000

// Head takes what the path and the query say. Parameters that mean no field are
// in c.Unknown. An error is a *FieldError.
func (c *Call) Head(query string, o *RequestOptions) error {
	for _, v := range c.values {
		path := c.variables[v.Variable]
		if err := c.put(path, v.Value, o, "path"); err != nil {
			return err
		}
	}
	n := 0
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		if n++; n > maxParameters {
			return &FieldError{In: "query", Reason: fmt.Sprintf("has more than %d parameters", maxParameters)}
		}
		if err := c.parameter(pair, o); err != nil {
			return err
		}
	}
	for i := range c.pieces {
		c.wire = append(c.wire, pbjson.Wrap(c.pieces[i].path, c.pieces[i].wire)...)
	}
	return nil
}

// parameter takes one of the query.
func (c *Call) parameter(pair string, o *RequestOptions) error {
	name, value, _ := strings.Cut(pair, "=")
	name, err1 := decode(name, o.Plus)
	value, err2 := decode(value, o.Plus)
	if err := errors.Join(err1, err2); err != nil {
		return &FieldError{In: "query", Reason: "has an escape that is none"}
	}
	if slices.Contains(o.Ignored, name) {
		return nil
	}
	path, reason := fieldPath(c.Method.Input, strings.Split(name, "."))
	if reason != "" || leaf(path, true) != "" || c.elsewhere(path) {
		if c.Unknown == nil {
			c.Unknown = make(url.Values)
		}
		c.Unknown[name] = append(c.Unknown[name], value)
		return nil
	}
	return c.put(path, value, o, "query")
}

func decode(s string, plus bool) (string, error) {
	if plus {
		return url.QueryUnescape(s)
	}
	return url.PathUnescape(s)
}

// elsewhere says that a field's value comes from the path or the body.
func (c *Call) elsewhere(path []*pbjson.Field) bool {
	if c.body != nil && len(path) >= len(c.body) && slices.Equal(path[:len(c.body)], c.body) {
		return true
	}
	return slices.ContainsFunc(c.variables, func(v []*pbjson.Field) bool { return slices.Equal(v, path) })
}

func (c *Call) put(path []*pbjson.Field, text string, o *RequestOptions, in string) error {
	f := path[len(path)-1]
	wire, err := f.AppendText(nil, text, o.Read)
	if err != nil {
		if bad, ok := errors.AsType[*pbjson.Error](err); ok {
			return &FieldError{Field: dotted(path), In: in, Reason: bad.Reason}
		}
		return &FieldError{Field: dotted(path), In: in, Reason: err.Error()}
	}
	c.pieces = append(c.pieces, piece{path, wire})
	return nil
}

func dotted(path []*pbjson.Field) string {
	names := make([]string, len(path))
	for i, f := range path {
		names[i] = f.Name()
	}
	return strings.Join(names, ".")
}

// HasBody says that the request's body is a part of the message.
func (b *Binding) HasBody() bool { return b.all || b.body != nil }

// Bare appends the message of a request without a body: of what Head has taken.
func (c *Call) Bare(dst []byte) []byte { return append(dst, c.wire...) }

// JSON appends the message of a request with a JSON body. What the body says
// comes after what path and query say, and so counts where it is the same
// field. An error is a *FieldError.
func (c *Call) JSON(dst, body []byte, o *RequestOptions) ([]byte, error) {
	read := o.Read
	read.Partial = len(c.pieces) > 0
	dst = append(dst, c.wire...)
	before := len(dst)
	var err error
	if c.all {
		dst, err = c.Method.Input.Append(dst, body, read)
	} else {
		var field []byte
		if field, err = c.body[len(c.body)-1].Append(nil, body, o.Read); err == nil {
			dst = append(dst, pbjson.Wrap(c.body, field)...)
		}
	}
	if err != nil {
		return dst, bodyError(err)
	}
	if o.RejectCollisions {
		return dst, c.collision(dst[before:])
	}
	return dst, nil
}

func bodyError(err error) error {
	var bad *pbjson.Error
	if !errors.As(err, &bad) {
		return &FieldError{In: "body", Reason: err.Error()}
	}
	if bad.Path == "" {
		return &FieldError{In: "body", Reason: bad.Error()}
	}
	return &FieldError{In: "body", Field: bad.Path, Reason: bad.Reason}
}

// collision refuses a body that contradicts the path or the query.
func (c *Call) collision(body []byte) error {
	for i := range c.pieces {
		p := &c.pieces[i]
		if said := pbjson.Last(p.path, body); said != nil && !bytes.Equal(said, p.wire) {
			return &FieldError{In: "body", Field: dotted(p.path), Reason: "is not what the path or the query says"}
		}
	}
	return nil
}

// Numbers of the fields of google.api.HttpBody.
const (
	bodyType       = 1
	bodyData       = 2
	bodyExtensions = 3
)

// Raw appends the message of a request whose body is no JSON. extensions are
// messages of google.protobuf.Any on the wire.
func (c *Call) Raw(dst []byte, contentType string, data []byte, extensions ...[]byte) []byte {
	body := appendHTTPBody(nil, contentType, data)
	for _, x := range extensions {
		body = protowire.AppendTag(body, bodyExtensions, protowire.BytesType)
		body = protowire.AppendBytes(body, x)
	}
	dst = append(dst, c.wire...)
	if c.all {
		return append(dst, body...)
	}
	return append(dst, pbjson.Wrap(c.body, c.body[len(c.body)-1].AppendMessage(nil, body))...)
}

// appendHTTPBody appends the fields of a google.api.HttpBody.
func appendHTTPBody(dst []byte, contentType string, data []byte) []byte {
	if contentType != "" {
		dst = protowire.AppendTag(dst, bodyType, protowire.BytesType)
		dst = protowire.AppendString(dst, contentType)
	}
	if len(data) > 0 {
		dst = protowire.AppendTag(dst, bodyData, protowire.BytesType)
		dst = protowire.AppendBytes(dst, data)
	}
	return dst
}

// Next forgets what path and query say: of a stream of messages that are no
// JSON it belongs to the first alone.
func (c *Call) Next() { c.pieces, c.wire = nil, nil }
