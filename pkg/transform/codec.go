package transform

import (
	"errors"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/transform/charset"
	"github.com/dragoman-mesh/dragoman/pkg/transform/csv"
	"github.com/dragoman-mesh/dragoman/pkg/transform/form"
	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/msgpack"
	"github.com/dragoman-mesh/dragoman/pkg/transform/multipart"
	"github.com/dragoman-mesh/dragoman/pkg/transform/ndjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// codec reads and writes one format, with its options.
type codec interface {
	decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error)
	append(dst []byte, doc *value.Doc, root value.ID, lim *value.Limits) ([]byte, error)
}

// records tells whether a body of a format is always a list of records.
func (f Format) records() bool { return f == NDJSON || f == CSV }

func newCodec(side *Side) (codec, error) {
	if err := side.foreign(); err != nil {
		return nil, err
	}
	switch side.Format {
	case JSON:
		return jsonCodec{}, nil
	case NDJSON:
		return ndjsonCodec{}, nil
	case XML:
		c := xmlCodec{*orZero(side.XML)}
		return c, named("xml", c.opt.Check())
	case SOAP:
		c := soapCodec{*orZero(side.SOAP)}
		return c, named("soap", c.opt.Check())
	case Form:
		c := formCodec{*orZero(side.Form)}
		return c, named("form", c.opt.Check())
	case Multipart:
		c := multipartCodec{*orZero(side.Multipart)}
		return c, named("multipart", c.opt.Check())
	case CSV:
		c := csvCodec{*orZero(side.CSV)}
		return c, named("csv", c.opt.Check())
	case MsgPack:
		return msgpackCodec{*orZero(side.MsgPack)}, nil
	default:
		return nil, fmt.Errorf("%q is no format", side.Format)
	}
}

func orZero[T any](opt *T) *T {
	if opt == nil {
		return new(T)
	}
	return opt
}

func named(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", field, err)
}

// foreign refuses options of another format.
func (s *Side) foreign() error {
	var errs []error
	for _, o := range []struct {
		format Format
		there  bool
	}{
		{XML, s.XML != nil},
		{SOAP, s.SOAP != nil},
		{Form, s.Form != nil},
		{Multipart, s.Multipart != nil},
		{CSV, s.CSV != nil},
		{MsgPack, s.MsgPack != nil},
	} {
		if o.there && o.format != s.Format {
			errs = append(errs, fmt.Errorf("%s: these are options of another format than %s", o.format, s.Format))
		}
	}
	return errors.Join(errs...)
}

type jsonCodec struct{}

func (jsonCodec) decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error) {
	text, err := textOf(JSON, src, contentType)
	if err != nil {
		return value.None, err
	}
	return json.Decode(doc, text, lim)
}

func (jsonCodec) append(dst []byte, doc *value.Doc, root value.ID, _ *value.Limits) ([]byte, error) {
	return json.Append(dst, doc, root), nil
}

// textOf is a body of JSON, which is UTF-8 unless its Content-Type or a byte order mark
// says otherwise.
func textOf(f Format, src []byte, contentType string) (string, error) {
	return charset.Decode(string(f), string(src), charset.Of(contentType))
}

type ndjsonCodec struct{}

func (ndjsonCodec) decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error) {
	text, err := textOf(NDJSON, src, contentType)
	if err != nil {
		return value.None, err
	}
	return ndjson.Decode(doc, text, lim)
}

func (ndjsonCodec) append(dst []byte, doc *value.Doc, root value.ID, _ *value.Limits) ([]byte, error) {
	return ndjson.Append(dst, doc, root), nil
}

type xmlCodec struct{ opt xml.Options }

func (c xmlCodec) decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error) {
	return xml.Decode(doc, string(src), charset.Of(contentType), &c.opt, lim)
}

func (c xmlCodec) append(dst []byte, doc *value.Doc, root value.ID, lim *value.Limits) ([]byte, error) {
	return xml.Append(dst, doc, root, &c.opt, lim)
}

type soapCodec struct{ opt soap.Options }

func (c soapCodec) decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error) {
	return soap.Decode(doc, string(src), charset.Of(contentType), &c.opt, lim)
}

func (c soapCodec) append(dst []byte, doc *value.Doc, root value.ID, lim *value.Limits) ([]byte, error) {
	return soap.Append(dst, doc, root, &c.opt, lim)
}

type formCodec struct{ opt form.Options }

func (c formCodec) decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error) {
	return form.Decode(doc, string(src), charset.Of(contentType), &c.opt, lim)
}

func (c formCodec) append(dst []byte, doc *value.Doc, root value.ID, lim *value.Limits) ([]byte, error) {
	return form.Append(dst, doc, root, &c.opt, lim)
}

type multipartCodec struct{ opt multipart.Options }

func (c multipartCodec) decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error) {
	return multipart.Decode(doc, string(src), contentType, &c.opt, lim)
}

func (c multipartCodec) append(dst []byte, doc *value.Doc, root value.ID, lim *value.Limits) ([]byte, error) {
	return multipart.Append(dst, doc, root, &c.opt, lim)
}

type csvCodec struct{ opt csv.Options }

func (c csvCodec) decode(doc *value.Doc, src []byte, contentType string, lim *value.Limits) (value.ID, error) {
	return csv.Decode(doc, string(src), charset.Of(contentType), &c.opt, lim)
}

func (c csvCodec) append(dst []byte, doc *value.Doc, root value.ID, lim *value.Limits) ([]byte, error) {
	return csv.Append(dst, doc, root, &c.opt, lim)
}

type msgpackCodec struct{ opt msgpack.Options }

func (msgpackCodec) decode(doc *value.Doc, src []byte, _ string, lim *value.Limits) (value.ID, error) {
	return msgpack.Decode(doc, string(src), lim)
}

func (c msgpackCodec) append(dst []byte, doc *value.Doc, root value.ID, _ *value.Limits) ([]byte, error) {
	return msgpack.Append(dst, doc, root, &c.opt)
}
