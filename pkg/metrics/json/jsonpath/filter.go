package jsonpath

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
)

func (f *filter) from(in []tree.Value) ([]tree.Value, error) {
	var out []tree.Value
	for _, v := range in {
		if v.Kind() != tree.Array {
			return nil, fmt.Errorf("an %s cannot be filtered", v.Kind())
		}
		for c := range v.Children() {
			ok, err := f.passes(c)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, c)
			}
		}
	}
	return out, nil
}

func (f *filter) passes(v tree.Value) (bool, error) {
	one := []tree.Value{v}
	left, err := walk(one, f.left)
	if f.op == "" {
		return len(left) > 0, nil
	}
	if errors.Is(err, rules.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	right, err := walk(one, f.right)
	switch {
	case errors.Is(err, rules.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case len(left) == 0 || len(right) == 0:
		return false, nil
	case len(left) > 1 || len(right) > 1:
		return false, errors.New("a filter can only compare one value at a time")
	}
	return compare(left[0], f.op, right[0])
}

func compare(left tree.Value, op string, right tree.Value) (bool, error) {
	order, ordered, err := relate(left, right)
	if err != nil {
		return false, err
	}
	switch op {
	case "==":
		return order == 0, nil
	case "!=":
		return order != 0, nil
	}
	if !ordered {
		return false, fmt.Errorf("values of kind %s have no order", left.Kind())
	}
	switch op {
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	default:
		return order >= 0, nil
	}
}

// relate compares two values of one kind; ordered is false where they are only
// the same or not.
func relate(left, right tree.Value) (order int, ordered bool, err error) {
	l, r := left.Kind(), right.Kind()
	switch {
	case l == tree.Number && r == tree.Number:
		x, errX := strconv.ParseFloat(left.Text(), 64)
		y, errY := strconv.ParseFloat(right.Text(), 64)
		return cmp.Compare(x, y), true, errors.Join(errX, errY)
	case l == tree.String && r == tree.String:
		return cmp.Compare(left.Text(), right.Text()), true, nil
	case (l == tree.True || l == tree.False) && (r == tree.True || r == tree.False):
		return int(l) - int(r), false, nil
	}
	return 0, false, fmt.Errorf("a filter cannot compare a %s with a %s", l, r)
}
