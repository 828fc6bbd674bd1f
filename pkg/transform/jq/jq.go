// Package jq compiles programs of jq that rules may use: those whose work is
// bounded by the document that they are given.
package jq

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/itchyny/gojq"
)

// Limits of programs.
const (
	maxProgram = 4096 // bytes
	maxOutputs = 1 << 20
)

// ErrRefused is a program that may do more than the document is a bound for.
var ErrRefused = errors.New("is not allowed")

// ErrTooMuch is a program that was stopped, since it did too much.
var ErrTooMuch = errors.New("the program does too much")

// refused are functions that go on without end, know more than the document, or
// end the process.
func refused() []string {
	return []string{
		"range", "repeat", "while", "until", "recurse", "recurse_down", "combinations", "input", "inputs", "input_filename",
		"input_line_number", "debug", "stderr", "env", "$ENV", "halt", "halt_error", "setpath", "modulemeta",
	}
}

// Program is a compiled program. It is read-only.
type Program struct{ code *gojq.Code }

// Compile parses and checks a program.
func Compile(text string) (*Program, error) {
	if len(text) > maxProgram {
		return nil, fmt.Errorf("a program of more than %d bytes", maxProgram)
	}
	query, err := gojq.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("not a program of jq: %w", err)
	}
	if err := check(query); err != nil {
		return nil, err
	}
	code, err := gojq.Compile(query, gojq.WithEnvironLoader(func() []string { return nil }))
	if err != nil {
		return nil, fmt.Errorf("not a program of jq: %w", err)
	}
	return &Program{code: code}, nil
}

// check walks through the program, whatever its nodes are.
func check(query *gojq.Query) error {
	w := walker{refused: refused()}
	w.walk(reflect.ValueOf(query))
	return w.err
}

type walker struct {
	refused []string
	open    []string // functions in whose definition we are
	err     error
}

func (w *walker) walk(v reflect.Value) {
	if w.err != nil || !v.IsValid() {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			w.node(v)
		}
	case reflect.Slice:
		for i := range v.Len() {
			w.walk(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				w.walk(v.Field(i))
			}
		}
	}
}

func (w *walker) node(v reflect.Value) {
	if !v.CanInterface() {
		return
	}
	switch n := v.Interface().(type) {
	case *gojq.Func:
		w.function(n.Name)
	case *gojq.Import:
		w.err = fmt.Errorf("importing modules %w", ErrRefused)
	case *gojq.Term:
		if n.Type == gojq.TermTypeRecurse {
			w.err = fmt.Errorf(".. %w", ErrRefused)
		}
	case *gojq.FuncDef:
		w.open = append(w.open, n.Name)
		w.walk(v.Elem())
		w.open = w.open[:len(w.open)-1]
		return
	}
	w.walk(v.Elem())
}

func (w *walker) function(name string) {
	if slices.Contains(w.refused, name) {
		w.err = fmt.Errorf("the function %s %w", name, ErrRefused)
	}
	if slices.Contains(w.open, name) {
		w.err = fmt.Errorf("that %s calls itself %w", name, ErrRefused)
	}
}

// Run gives every output of the program to yield, until that returns false.
func (p *Program) Run(ctx context.Context, doc any, yield func(any) bool) error {
	iter := p.code.RunWithContext(ctx, doc)
	for range maxOutputs {
		v, ok := iter.Next()
		if !ok {
			return nil
		}
		if err, failed := v.(error); failed {
			return fmt.Errorf("running the program: %w", err)
		}
		if !yield(v) {
			return nil
		}
	}
	return fmt.Errorf("%w: more than %d outputs", ErrTooMuch, maxOutputs)
}
