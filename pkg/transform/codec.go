package transform

import (
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// codec reads and writes one format, with its options.
type codec interface {
	format() Format
	// records tells whether a body is always a list of records.
	records() bool
	decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error)
	append(dst []byte, doc *value.Doc, root value.ID, lim *value.Limits) ([]byte, error)
}

func newCodec(side *Side) (codec, error) {
	switch side.Format {
	case JSON:
		return jsonCodec{}, nil
	default:
		return nil, fmt.Errorf("%q is no format", side.Format)
	}
}

type jsonCodec struct{}

func (jsonCodec) format() Format { return JSON }
func (jsonCodec) records() bool  { return false }

func (jsonCodec) decode(doc *value.Doc, src []byte, _ string, lim *value.Limits) (value.ID, error) {
	return json.Decode(doc, string(src), lim)
}

func (jsonCodec) append(dst []byte, doc *value.Doc, root value.ID, _ *value.Limits) ([]byte, error) {
	return json.Append(dst, doc, root), nil
}
