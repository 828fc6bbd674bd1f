package jq

import (
	"encoding/json"
	"errors"
	"math/big"

	"github.com/itchyny/gojq"
)

// maxGrowth is how much longer than it is an assignment may make a list.
const maxGrowth = 1024

var (
	errIndex  = errors.New("a list cannot be an index here")
	errGrowth = errors.New("an index that is far behind a list's end")
)

// guards are the functions that programs ask before they do what may take more than
// a step's memory, or time. Their names are not ones that a program may have.
func (m *meter) guards() []gojq.CompilerOption {
	result := func(err error, v any) any {
		if err != nil {
			return err
		}
		return v
	}
	return []gojq.CompilerOption{
		gojq.WithFunction("_guard_shallow", 1, 1, func(v any, args []any) any {
			return result(m.charge(shallow(v)*factor(args[0])), nil)
		}),
		gojq.WithFunction("_guard_deep", 1, 1, func(v any, args []any) any {
			return result(m.charge(m.deep(v)*factor(args[0])), nil)
		}),
		gojq.WithFunction("_guard_match", 0, 0, func(v any, _ []any) any { return result(m.charge(matching(v)), nil) }),
		gojq.WithFunction("_guard_sub", 0, 0, func(v any, _ []any) any { return result(m.substitute(v), v) }),
		gojq.WithFunction("_guard_each", 0, 0, func(v any, _ []any) any { return result(m.charge(each(v)), nil) }),
		gojq.WithFunction("_guard_grid", 0, 0, func(v any, _ []any) any { return result(m.charge(grid(v)), nil) }),
		gojq.WithFunction("_guard_join", 1, 1, func(v any, args []any) any {
			list, _ := v.([]any)
			return result(m.charge(8*(m.deep(v)+int64(len(list))*shallow(args[0]))), args[0])
		}),
		gojq.WithFunction("_guard_all", 1, 3, func(v any, args []any) any {
			size := m.deep(v)
			for _, a := range args {
				size += m.deep(a)
			}
			return result(m.charge(4*size), args)
		}),
		gojq.WithFunction("_guard_add", 2, 2, func(_ any, args []any) any {
			return result(m.charge(shallow(args[0])+shallow(args[1])), args)
		}),
		gojq.WithFunction("_guard_same", 2, 2, func(_ any, args []any) any {
			return result(m.charge(m.deep(args[0])+m.deep(args[1])), args)
		}),
		gojq.WithFunction("_guard_times", 2, 2, func(_ any, args []any) any { return result(m.charge(m.times(args[0], args[1])), args) }),
		gojq.WithFunction("_guard_index", 0, 0, func(v any, _ []any) any {
			if _, list := v.([]any); list {
				return errIndex
			}
			return v
		}),
		gojq.WithFunction("_guard_path", 1, 1, func(v any, args []any) any {
			path, _ := args[0].([]any)
			if err := m.charge(shallow(args[0])); err != nil {
				return err
			}
			return result(growth(v, path), nil)
		}),
	}
}

// factor is a number in the text of a guard.
func factor(v any) int64 {
	n, _ := gojq.ToInt(v)
	return int64(n)
}

// matching is what looking for all matches of a pattern takes: a match is some
// hundred bytes, the interpreter counts the characters before each, and sub copies
// what it has for each.
func matching(v any) int64 {
	n := shallow(v)
	return 256*n + n*n/16
}

// substitute counts what takes the place of a match: what is there already is
// copied each time.
func (m *meter) substitute(v any) error {
	m.substituted += shallow(v)
	return m.charge(2*shallow(v) + m.substituted/2)
}

// each is what adding the elements of a list takes.
func each(v any) int64 {
	size := shallow(v)
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			size += shallow(item)
		}
	case map[string]any:
		for _, item := range v {
			size += shallow(item)
		}
	}
	return size
}

// grid is what a list of lists takes if all are as long as the longest.
func grid(v any) int64 {
	rows, _ := v.([]any)
	longest := 0
	for _, row := range rows {
		if list, ok := row.([]any); ok {
			longest = max(longest, len(list))
		}
	}
	return 16 * int64(len(rows)+1) * int64(longest+1)
}

// times is what a multiplication, division or difference takes: a string is
// repeated or split, lists are compared with each other, objects are merged.
func (m *meter) times(l, r any) int64 {
	if s, ok := r.(string); ok {
		if _, both := l.(string); !both {
			l, r = s, l
		}
	}
	switch left := l.(type) {
	case string:
		if n, ok := gojq.ToFloat64(r); ok {
			return int64(min(float64(len(left))*max(n, 1), float64(fuel*unit+1)))
		}
		return 17 * int64(len(left)+1)
	case []any:
		if right, ok := r.([]any); ok {
			return m.deep(l)*int64(len(right)+1) + m.deep(r)
		}
	}
	return 2*(m.deep(l)+m.deep(r)) + bits(l)*bits(r)/512
}

// bits is how many a whole number has that is not small.
func bits(v any) int64 {
	switch v := v.(type) {
	case *big.Int:
		return int64(v.BitLen())
	case json.Number:
		return 4 * int64(len(v))
	}
	return 64
}

// growth refuses a path whose indexes are far behind the ends of lists.
func growth(v any, path []any) error {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[s]
		case map[string]any: // a slice
			v = nil
		default:
			i, ok := gojq.ToInt(step)
			list, _ := v.([]any)
			v = nil
			switch {
			case !ok:
			case i > len(list)+maxGrowth:
				return errGrowth
			case i >= 0 && i < len(list):
				v = list[i]
			case i < 0 && -i <= len(list):
				v = list[len(list)+i]
			}
		}
	}
	return nil
}
