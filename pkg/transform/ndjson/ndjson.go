// Package ndjson reads and writes lists of JSON values, one a line, as trees of
// package value.
package ndjson

import (
	"errors"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/json"
	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Format is the name that errors have.
const Format = "ndjson"

// Decode reads all lines into a list. Empty ones are left out.
func Decode(doc *value.Doc, text string, lim *value.Limits) (value.ID, error) {
	list := doc.New(value.List, "")
	for line, i := 1, 0; text != ""; line++ {
		record, rest, _ := strings.Cut(text, "\n")
		text = rest
		id, err := Record(doc, record, line, lim)
		if err != nil {
			return value.None, value.At(err, i)
		}
		if id != value.None {
			doc.Add(list, id)
			i++
		}
	}
	return list, nil
}

// Record reads one line, whose number is for errors; None if it is empty.
func Record(doc *value.Doc, text string, line int, lim *value.Limits) (value.ID, error) {
	if strings.Trim(text, " \t\r\n") == "" {
		return value.None, nil
	}
	id, err := json.Decode(doc, text, lim)
	if e, ok := errors.AsType[*value.Error](err); ok {
		e.Format = Format
		if e.Line > 0 {
			e.Line = line
		}
	}
	return id, err
}

// Append writes a line for each element of a list, or for what is no list.
func Append(dst []byte, doc *value.Doc, root value.ID) []byte {
	if doc.At(root).Kind != value.List {
		return AppendRecord(dst, doc, root)
	}
	for at := doc.At(root).First; at != value.None; at = doc.At(at).Next {
		dst = AppendRecord(dst, doc, at)
	}
	return dst
}

// AppendRecord writes a line.
func AppendRecord(dst []byte, doc *value.Doc, id value.ID) []byte {
	return append(json.Append(dst, doc, id), '\n')
}
