// Package jq compiles programs of jq that rules may use: those whose work is
// bounded by the document that they are given.
package jq

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

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

// Program is a compiled program. It is safe for concurrent use.
type Program struct {
	text string
	fuel int64 // of a run
	// idle has instances that no run uses: each counts for one run at a time.
	idle *sync.Pool
}

// instance is a program that counts what it uses.
type instance struct {
	code  *gojq.Code
	meter *meter
}

// Compile parses and checks a program.
func Compile(text string) (*Program, error) {
	p := &Program{text: text, fuel: fuel, idle: new(sync.Pool)}
	first, err := p.compile()
	if err != nil {
		return nil, err
	}
	p.idle.Put(first)
	return p, nil
}

func (p *Program) compile() (*instance, error) {
	if len(p.text) > maxProgram {
		return nil, fmt.Errorf("a program of more than %d bytes", maxProgram)
	}
	query, err := gojq.Parse(p.text)
	if err != nil {
		return nil, fmt.Errorf("not a program of jq: %w", err)
	}
	w := walker{refused: refused(), own: map[string]bool{}}
	if w.walk(reflect.ValueOf(query)); w.err != nil {
		return nil, w.err
	}
	r := rewriter{allowed: allowed(), own: w.own}
	if r.rewrite(reflect.ValueOf(query)); r.err != nil {
		return nil, r.err
	}
	m := &meter{stopped: make(chan struct{})}
	close(m.stopped)
	code, err := gojq.Compile(query, append(m.guards(), gojq.WithEnvironLoader(func() []string { return nil }))...)
	if err != nil {
		return nil, fmt.Errorf("not a program of jq: %w", err)
	}
	return &instance{code: code, meter: m}, nil
}

// walker looks at a whole program, whatever its nodes are.
type walker struct {
	refused []string
	open    []string // functions in whose definition we are
	own     map[string]bool
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
		if strings.HasPrefix(n.Name, "_") {
			w.err = fmt.Errorf("a function with the name %s %w", n.Name, ErrRefused)
			return
		}
		w.own[n.Name] = true
		for _, arg := range n.Args {
			w.own[arg] = true
		}
		w.open = append(w.open, n.Name)
		w.walk(v.Elem())
		w.open = w.open[:len(w.open)-1]
		return
	}
	w.walk(v.Elem())
}

func (w *walker) function(name string) {
	if strings.HasPrefix(name, "_") || strings.HasPrefix(name, "$__") {
		w.err = fmt.Errorf("the name %s %w", name, ErrRefused)
	}
	if slices.Contains(w.refused, name) {
		w.err = fmt.Errorf("the function %s %w", name, ErrRefused)
	}
	if slices.Contains(w.open, name) {
		w.err = fmt.Errorf("that %s calls itself %w", name, ErrRefused)
	}
}

// Run gives every output of the program to yield, until that returns false. It
// stops with ErrTooMuch once the program has taken too many steps, or what takes too
// much memory.
func (p *Program) Run(ctx context.Context, doc any, yield func(any) bool) error {
	in, ok := p.idle.Get().(*instance)
	if !ok {
		var err error
		if in, err = p.compile(); err != nil {
			return err
		}
	}
	in.meter.Context, in.meter.left, in.meter.substituted = ctx, p.fuel, 0
	defer func() {
		in.meter.Context = nil
		p.idle.Put(in)
	}()
	return in.run(doc, yield)
}

func (in *instance) run(doc any, yield func(any) bool) error {
	iter := in.code.RunWithContext(in.meter, doc)
	for range maxOutputs {
		v, ok := iter.Next()
		if !ok {
			return nil
		}
		err, failed := v.(error)
		switch {
		case failed && in.meter.left < 0:
			return ErrTooMuch
		case failed:
			return fmt.Errorf("running the program: %w", err)
		case !yield(v):
			return nil
		}
	}
	return fmt.Errorf("%w: more than %d outputs", ErrTooMuch, maxOutputs)
}
