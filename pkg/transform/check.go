package transform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/fields"
	"github.com/dragoman-mesh/dragoman/pkg/transform/mapping"
	"github.com/dragoman-mesh/dragoman/pkg/transform/xml"
)

// check finds what the new format cannot keep, whatever a body has.
func (p *Program) check() error {
	var errs []error
	if p.from.Format.records() {
		errs = append(errs, p.checkRecords())
	}
	if p.mapping == nil {
		return errors.Join(errs...)
	}
	for _, path := range p.mapping.Targets() {
		if reason := p.refuse(p.ofRecord(path)); reason != "" {
			errs = append(errs, fmt.Errorf("%s: %s: %s", p.to.Format, path, reason))
		}
	}
	for _, path := range p.mapping.Lists() {
		if p.to.Format == CSV && len(p.ofRecord(path)) > 0 {
			errs = append(errs, fmt.Errorf("csv: %s: a list in a record", path))
		}
	}
	if p.to.Format == XML && orZero(p.to.XML).Root == "" || p.to.Format == SOAP && orZero(p.to.SOAP).Operation == "" {
		errs = append(errs, p.checkTop())
	}
	return errors.Join(errs...)
}

// checkRecords is of a list of records that is to become something else.
func (p *Program) checkRecords() error {
	switch p.to.Format {
	case Form, Multipart:
		return fmt.Errorf("%s: it has the fields of one object, and %s is a list of records", p.to.Format, p.from.Format)
	case SOAP:
		return fmt.Errorf("soap: an operation is one element, and %s is a list of records", p.from.Format)
	case XML:
		if opt := orZero(p.to.XML); opt.Root == "" || opt.Item == "" {
			return fmt.Errorf("xml: %s is a list of records: the options root and item have to name its elements", p.from.Format)
		}
	case JSON, CSV, NDJSON, MsgPack:
	}
	return nil
}

// checkTop is of a document whose element at the top has no name of its own.
func (p *Program) checkTop() error {
	names := map[string]struct{}{}
	for _, path := range p.mapping.Certain() {
		if len(path) > 0 && !path[0].Each {
			names[path[0].Name] = struct{}{}
		}
	}
	if len(names) > 1 {
		return fmt.Errorf("%s: the map makes %d members at the top, where one element can be: an option (root, or operation of soap) has to name the one around them", p.to.Format, len(names))
	}
	return nil
}

// ofRecord is a path within a record, where the new body is a list of them.
func (p *Program) ofRecord(path mapping.Path) mapping.Path {
	if p.to.Format.records() && !p.from.Format.records() && len(path) > 0 && path[0].Each {
		return path[1:]
	}
	return path
}

// refuse says why the new format cannot have a field at a path, empty if it can.
func (p *Program) refuse(path mapping.Path) string {
	switch p.to.Format {
	case Form:
		return refuseField(path, orZero(p.to.Form).Nested)
	case Multipart:
		return refuseField(path, orZero(p.to.Multipart).Nested)
	case CSV:
		return p.refuseColumn(path)
	case XML:
		return refuseElement(path, orZero(p.to.XML))
	case SOAP:
		return refuseElement(path, &orZero(p.to.SOAP).XML)
	case JSON, NDJSON, MsgPack:
	}
	return ""
}

func refuseField(path mapping.Path, nested fields.Nested) string {
	names := len(path) - path.Lists()
	last := len(path) > 0 && path[len(path)-1].Each
	switch {
	case nested == fields.Brackets:
	case nested == fields.Flat && names > 1:
		return "an object within the object: the option nested says how it is written"
	case path.Lists() > 1, path.Lists() == 1 && !last:
		return "a list of objects or lists: the option nested has to be brackets"
	}
	return ""
}

func (p *Program) refuseColumn(path mapping.Path) string {
	opt := orZero(p.to.CSV)
	var names []string
	for _, step := range path {
		if step.Each {
			if opt.NoHeader && len(opt.Columns) == 0 {
				return ""
			}
			return "a list in a record"
		}
		names = append(names, step.Name)
	}
	if len(names) > 1 && opt.Nested == fields.Flat {
		return "an object within a record: the option nested says how it is written"
	}
	if name := strings.Join(names, "."); name != "" && len(opt.Columns) > 0 && !slices.ContainsFunc(opt.Columns, func(c string) bool {
		return c == name || strings.HasPrefix(c, name+".")
	}) {
		return "no column of that name"
	}
	return ""
}

func refuseElement(path mapping.Path, opt *xml.Options) string {
	for i, step := range path {
		switch {
		case step.Each && i > 0 && path[i-1].Each:
			return "a list in a list: its elements have no name"
		case !step.Each && !opt.CanName(step.Name):
			return fmt.Sprintf("%q is no name that an element can have", step.Name)
		}
	}
	return ""
}
