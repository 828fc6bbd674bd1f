// Package parse makes records of lines. It is pure: no file, no clock, no log.
//
// A Parser is for one goroutine. What it puts into a record shows parts of the
// line, or of memory of its own, until it is asked again.
package parse

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// Parser makes a record of a line, or of several with line feeds between them.
type Parser interface {
	// Parse fills a record that has been reset. It reports false for a line that is
	// not of its format; what it has put into the record is then of no use.
	Parse(line []byte, r *record.Record) bool
}

// Format names one.
type Format string

// The formats.
const (
	Plain         Format = "plain"
	NginxCombined Format = "nginxCombined"
	NginxError    Format = "nginxError"
	JSON          Format = "json"
	Logfmt        Format = "logfmt"
	Regex         Format = "regex"
)

// Options say how lines are read.
type Options struct {
	Format Format // "": Plain
	// Pattern with named groups, for Regex. The groups become fields.
	Pattern string
	Fields  Fields
}

// Fields say which of a line's fields mean something for the record; for JSON,
// Logfmt and Regex. What is empty is looked for under its usual names.
type Fields struct {
	Timestamp, Severity, Body, TraceID, SpanID string
	// TimeFormat is for NewClock.
	TimeFormat string
	// Severities are what texts mean that SeverityOf does not know, by name of the
	// range: {"oops": "error"}.
	Severities map[string]string
}

// ErrOptions is wrapped by what is wrong with Options.
var ErrOptions = errors.New("parsing log lines")

// New makes a parser.
func New(o Options) (Parser, error) {
	if o.Format != Regex && o.Pattern != "" {
		return nil, fmt.Errorf("%w: a pattern is for format regex", ErrOptions)
	}
	structured := slices.Contains([]Format{JSON, Logfmt, Regex}, o.Format)
	if !structured && !o.Fields.empty() {
		return nil, fmt.Errorf("%w: fields are for the formats json, logfmt and regex", ErrOptions)
	}
	f, err := newFields(&o.Fields)
	if err != nil {
		return nil, err
	}
	switch o.Format {
	case "", Plain:
		return plain{}, nil
	case NginxCombined:
		return newCombined(), nil
	case NginxError:
		return newNginxError(), nil
	case JSON:
		return &jsonParser{fields: f}, nil
	case Logfmt:
		return &logfmt{fields: f, truth: []byte("true")}, nil
	case Regex:
		return newRegex(o.Pattern, f)
	}
	return nil, fmt.Errorf("%w: there is no format %q", ErrOptions, o.Format)
}

func (f *Fields) empty() bool {
	return f.Timestamp == "" && f.Severity == "" && f.Body == "" && f.TraceID == "" && f.SpanID == "" && f.TimeFormat == "" && len(f.Severities) == 0
}

// plain takes every line as it is.
type plain struct{}

// Parse implements Parser.
func (plain) Parse(line []byte, r *record.Record) bool {
	r.Body = record.Value{Bytes: line}
	return true
}
