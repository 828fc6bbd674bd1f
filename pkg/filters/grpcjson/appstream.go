package grpcjson

import (
	"bytes"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
)

// texts is a stream of JSON: a list, or values one after the other. It implements
// values.
type texts struct{ split *pbjson.Splitter }

func (t *texts) feed(p []byte, each func([]byte) error) error {
	t.split.Feed(p)
	for {
		value, err := t.split.Next()
		if err != nil || value == nil {
			return err
		}
		if err := each(value); err != nil {
			return err
		}
	}
}

func (t *texts) end(each func([]byte) error) error {
	value, err := t.split.End()
	if err != nil || value == nil {
		return err
	}
	return each(value)
}

func (t *texts) held() int { return t.split.Len() }

// pieces is a stream that is no JSON: each piece that comes is a value.
type pieces struct{}

func (pieces) feed(p []byte, each func([]byte) error) error { return each(p) }
func (pieces) end(func([]byte) error) error                 { return nil }
func (pieces) held() int                                    { return 0 }

// events is a stream of Server-Sent Events, as the HTML standard has them. The
// event "error" ends the call.
type events struct {
	max  int
	line []byte // that is not whole yet
	skip bool   // a line feed belongs to the carriage return before
	data []byte
	some bool // there was data
	name string
}

func (e *events) feed(p []byte, each func([]byte) error) error {
	for len(p) > 0 {
		if e.skip && p[0] == '\n' {
			p, e.skip = p[1:], false
			continue
		}
		e.skip = false
		at := bytes.IndexAny(p, "\r\n")
		if at < 0 {
			at = len(p)
		}
		if len(e.line)+at+len(e.data) > e.max+len("data: ") {
			return fmt.Errorf("an event %w: more than %d bytes", pbjson.ErrLarge, e.max)
		}
		e.line = append(e.line, p[:at]...)
		if at == len(p) {
			return nil
		}
		e.skip = p[at] == '\r'
		p = p[at+1:]
		if err := e.take(each); err != nil {
			return err
		}
	}
	return nil
}

func (e *events) held() int { return len(e.line) + len(e.data) }

// take reads a line that is whole.
func (e *events) take(each func([]byte) error) error {
	line := e.line
	e.line = emptied(e.line)
	if len(line) == 0 {
		return e.dispatch(each)
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "data":
		if e.some {
			e.data = append(e.data, '\n')
		}
		e.data, e.some = append(e.data, value...), true
	case "event":
		e.name = string(value[:min(len(value), 64)])
	}
	return nil
}

func (e *events) dispatch(each func([]byte) error) error {
	data, name, some := e.data, e.name, e.some
	e.data, e.name, e.some = emptied(e.data), "", false
	switch {
	case !some:
		return nil
	case name == "error":
		return &errApp{outcome{message: string(data)}}
	default:
		return each(data)
	}
}

// end drops an event that is not whole, as the standard says.
func (*events) end(func([]byte) error) error { return nil }
