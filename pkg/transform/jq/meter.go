package jq

import (
	"context"
	"encoding/json"
	"math/big"
)

// fuel is what a program may use up: a unit for each step, and for each 64 bytes
// that a step may take. All of it is some 256 MB, if nothing were given back.
const (
	fuel     = 4 << 20
	unit     = 64
	maxDepth = 10000 // of a value that is measured
)

// meter is the context of a run. The interpreter asks it before each step whether
// it is done, and so it counts them.
type meter struct {
	context.Context //nolint:containedctx // of the one run that it is for
	left            int64
	substituted     int64         // bytes, by sub and gsub
	stopped         chan struct{} // closed
}

// Done implements context.Context.
func (m *meter) Done() <-chan struct{} {
	if m.left--; m.left < 0 {
		return m.stopped
	}
	return m.Context.Done()
}

// Err implements context.Context.
func (m *meter) Err() error {
	if m.left < 0 {
		return ErrTooMuch
	}
	return m.Context.Err()
}

// charge takes what a step of n bytes costs. Once there is none left the run ends,
// even if the program catches errors.
func (m *meter) charge(n int64) error {
	if m.left -= n / unit; m.left < 0 {
		m.left = -1
		return ErrTooMuch
	}
	return nil
}

// shallow is what a value takes without what is in it, in bytes.
func shallow(v any) int64 {
	switch v := v.(type) {
	case string:
		return int64(len(v))
	case json.Number:
		return int64(len(v))
	case []any:
		return 16 * int64(len(v))
	case map[string]any:
		return 64 * int64(len(v))
	case *big.Int:
		return int64(v.BitLen() / 8)
	}
	return 0
}

// deep is what a value takes with all that is in it, counted as often as it is
// there. It stops above limit.
func deep(v any, limit int64, depth int) int64 {
	size := shallow(v) + 8
	if depth > maxDepth {
		return limit + 1
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if size > limit {
				break
			}
			size += deep(item, limit-size, depth+1)
		}
	case map[string]any:
		for name, item := range v {
			if size > limit {
				break
			}
			size += int64(len(name)) + deep(item, limit-size, depth+1)
		}
	}
	return size
}

func (m *meter) deep(v any) int64 { return deep(v, m.left*unit, 0) }
