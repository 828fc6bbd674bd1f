package transform

import (
	"net/http"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform"
)

// Step is one thing that became of a request or of a response, for people.
type Step struct {
	Depth    int    // routes that the request had before
	Response bool   // else of the request
	What     string // as in "method", "header", "body", "schema"
	Before   string // "": it was not there
	After    string // "": it is not there any more
	Format   transform.Format
	To       transform.Format // of a body
}

// NewRecordingBuilder returns a builder whose filters tell what they do. Bodies
// are then changed as a whole, also those of records.
func NewRecordingBuilder(record func(Step)) *Builder {
	b := NewBuilder()
	b.record = record
	return b
}

// recording tells whether anybody listens.
func (x *exchange) recording() bool { return x.filter.builder.record != nil }

func (x *exchange) note(s Step) {
	if record := x.filter.builder.record; record != nil {
		s.Depth = x.depth
		record(s)
	}
}

// noteRoute tells which route a request has, and what is in its path.
func (x *exchange) noteRoute() {
	if !x.recording() {
		return
	}
	x.note(Step{What: "route", After: x.conf.Name})
	if t := x.conf.Path; t != nil && x.values.path != nil {
		for i, name := range t.Names {
			x.note(Step{What: "value", Before: "{" + name + "}", After: x.values.path[i]})
		}
	}
}

// noteHeaders tells how headers have changed.
func (x *exchange) noteHeaders(response bool, before, after http.Header) {
	if !x.recording() {
		return
	}
	names := map[string]bool{}
	for _, h := range []http.Header{before, after} {
		for name := range h {
			names[name] = true
		}
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	line := func(h http.Header, name string) string {
		if h[name] == nil {
			return ""
		}
		return name + ": " + strings.Join(h[name], ", ")
	}
	for _, name := range sorted {
		if !slices.Equal(before[name], after[name]) {
			x.note(Step{Response: response, What: "header", Before: line(before, name), After: line(after, name)})
		}
	}
}
