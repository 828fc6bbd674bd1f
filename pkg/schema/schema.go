// Package schema checks documents against a JSON Schema (draft 2020-12 unless it
// says another). It is pure: what a schema refers to must be in it, nothing is
// loaded.
package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

const (
	// MaxBytes of a schema.
	MaxBytes = 256 << 10
	// maxProblems that are told of one document.
	maxProblems = 16
	location    = "https://schema.invalid/"
)

// Schema is a compiled one. It is read-only, and safe for concurrent use.
type Schema struct{ compiled *jsonschema.Schema }

// Problem is what is wrong with a document.
type Problem struct {
	// Pointer names the field, RFC 6901; "" is the document.
	Pointer string
	Reason  string // without the value
}

// ErrExternal is the error of a schema that refers to another one.
var ErrExternal = errors.New("nothing is loaded: put it into $defs")

// none loads nothing.
type none struct{}

// Load implements jsonschema.URLLoader.
func (none) Load(string) (any, error) { return nil, ErrExternal }

// Compile reads a schema, a JSON document.
func Compile(text string) (*Schema, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("a schema of more than %d bytes", MaxBytes)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(none{})
	c.AssertFormat()
	if err := c.AddResource(location, doc); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, compileError(err)
	}
	return &Schema{compiled}, nil
}

// compileError says what is wrong with a schema, where the library says it by
// the metaschema that does not fit.
func compileError(err error) error {
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if v, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			if list := problems(v); len(list) > 0 {
				return fmt.Errorf("no JSON Schema: %s: %s", list[0].Pointer, list[0].Reason)
			}
		}
	}
	if e, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return fmt.Errorf("it refers to %q: %w", strings.TrimPrefix(e.URL, location), ErrExternal)
	}
	return errors.New(strings.ReplaceAll(err.Error(), location, ""))
}

// Check gives what is wrong with a JSON document, the first few of it; nil: it
// fits. The document must have been read with limits by somebody else before:
// numbers with huge exponents are worked out.
func (s *Schema) Check(doc []byte) ([]Problem, error) {
	dec := json.NewDecoder(strings.NewReader(string(doc)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("reading the document: something follows it")
	}
	err := s.compiled.Validate(v)
	if err == nil {
		return nil, nil
	}
	e, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return nil, fmt.Errorf("checking the document: %w", err)
	}
	return problems(e), nil
}

// problems gives the innermost errors, which name a field.
func problems(e *jsonschema.ValidationError) []Problem {
	c := collector{printer: message.NewPrinter(language.English)}
	c.add(e)
	return c.list
}

type collector struct {
	printer *message.Printer
	list    []Problem
}

func (c *collector) add(e *jsonschema.ValidationError) {
	if len(c.list) >= maxProblems {
		return
	}
	switch e.ErrorKind.(type) {
	case *kind.OneOf, *kind.AnyOf, *kind.Not:
		// What is wrong in each of the ways would say too much.
	default:
		if len(e.Causes) > 0 {
			for _, cause := range e.Causes {
				c.add(cause)
			}
			return
		}
	}
	at := pointer(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			c.say(at+pointer([]string{name}), "is missing")
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			c.say(at+pointer([]string{name}), "is not allowed here")
		}
	default:
		c.say(at, reason(e.ErrorKind, c.printer))
	}
}

func (c *collector) say(at, reason string) {
	if len(c.list) < maxProblems {
		c.list = append(c.list, Problem{at, reason})
	}
}

// reason is the library's, unless that has the value in it.
func reason(k jsonschema.ErrorKind, p *message.Printer) string {
	switch k := k.(type) {
	case *kind.Pattern:
		return fmt.Sprintf("does not match the pattern %q", k.Want)
	case *kind.Format:
		return fmt.Sprintf("is not of the format %s", k.Want)
	case *kind.AnyOf:
		return "fits none of the schemas of anyOf"
	case *kind.OneOf:
		if len(k.Subschemas) > 1 {
			return "fits more than one of the schemas of oneOf"
		}
		return "fits none of the schemas of oneOf"
	case *kind.Not:
		return "is what it must not be"
	case *kind.FalseSchema:
		return "is not allowed here"
	case *kind.Minimum, *kind.ExclusiveMinimum:
		return "is less than it may be"
	case *kind.Maximum, *kind.ExclusiveMaximum:
		return "is more than it may be"
	case *kind.MultipleOf:
		return "is not a multiple of what it must be"
	default:
		return k.LocalizedString(p)
	}
}

// escapes are those of RFC 6901.
var escapes = strings.NewReplacer("~", "~0", "/", "~1")

func pointer(path []string) string {
	var b strings.Builder
	for _, name := range path {
		b.WriteByte('/')
		b.WriteString(escapes.Replace(name))
	}
	return b.String()
}
