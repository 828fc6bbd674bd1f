package jsonpath

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
)

// maxText bounds what a template may become.
const maxText = 1 << 20

// Append appends what the template is for a value: the results of a path with
// spaces between them, objects and arrays as JSON.
func (p *Path) Append(dst []byte, v tree.Value) ([]byte, error) {
	return p.parted(dst, p.parts, v, len(dst))
}

func (p *Path) parted(dst []byte, parts []part, v tree.Value, start int) ([]byte, error) {
	for i := range parts {
		var err error
		switch part := &parts[i]; part.kind {
		case textPart:
			dst = append(dst, part.text...)
		case rangePart:
			dst, err = p.ranged(dst, part, v, start)
		default:
			dst, err = p.found(dst, part.steps, v)
		}
		if err != nil {
			return dst, err
		}
		if len(dst)-start > maxText {
			return dst, fmt.Errorf("a text of more than %d bytes", maxText)
		}
	}
	return dst, nil
}

func (p *Path) ranged(dst []byte, part *part, v tree.Value, start int) ([]byte, error) {
	found, err := walk([]tree.Value{v}, part.steps)
	if err != nil {
		return dst, err
	}
	for _, each := range found {
		if dst, err = p.parted(dst, part.body, each, start); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// found appends the results of a path. Most paths are fields and nothing else,
// and need no list of results.
func (p *Path) found(dst []byte, steps []step, v tree.Value) ([]byte, error) {
	direct := v
	for i := range steps {
		if steps[i].kind != fieldStep {
			return p.many(dst, steps, v)
		}
		next, ok := direct.Field(steps[i].name)
		if !ok {
			return p.many(dst, steps, v)
		}
		direct = next
	}
	return p.value(dst, direct)
}

func (p *Path) many(dst []byte, steps []step, v tree.Value) ([]byte, error) {
	found, err := walk([]tree.Value{v}, steps)
	if err != nil {
		return dst, err
	}
	for i, each := range found {
		if i > 0 {
			dst = append(dst, ' ')
		}
		if dst, err = p.value(dst, each); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func (p *Path) value(dst []byte, v tree.Value) ([]byte, error) {
	switch v.Kind() {
	case tree.Array, tree.Object:
		// As encoding/json writes it: sorted, and without spaces.
		var data any
		if err := json.Unmarshal([]byte(v.Text()), &data); err != nil {
			return dst, err
		}
		text, err := json.Marshal(data)
		return append(dst, text...), err
	case tree.Number:
		if p.floats {
			f, err := strconv.ParseFloat(v.Text(), 64)
			if err != nil {
				return dst, fmt.Errorf("%s is beyond what a float64 holds", v.Text())
			}
			return strconv.AppendFloat(dst, f, 'g', -1, 64), nil
		}
	}
	return append(dst, v.Text()...), nil
}
