// Package body renders the bodies of json_exporter's requests: Go templates with
// functions of Sprig. Go's own text/template looks methods up by name at run
// time, which keeps the linker from leaving out what nobody calls in the whole
// program (a third of its size), so templates are parsed by text/template/parse,
// and executed here.
package body

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"text/template/parse"
	"time"
)

// maxText bounds a body.
const maxText = 1 << 20

var errTooLong = fmt.Errorf("a body of more than %d bytes", maxText)

// Template is a compiled body. It is read-only.
type Template struct{ root *parse.ListNode }

// Parse compiles a body. Functions that are not known are refused.
func Parse(text string) (*Template, error) {
	names := make(map[string]any)
	for name := range functions() {
		names[name] = true
	}
	trees, err := parse.Parse("body", text, "{{", "}}", names)
	if err != nil {
		return nil, err
	}
	if len(trees) > 1 {
		return nil, errors.New("a body cannot define templates")
	}
	t := &Template{root: &parse.ListNode{}}
	if tree := trees["body"]; tree != nil {
		t.root = tree.Root
	}
	return t, nil
}

// Execute renders the body; query are the values that a template finds as
// .name, each a list. now is what the functions of time go by.
func (t *Template) Execute(query url.Values, now time.Time) (string, error) {
	r := &rendering{funcs: functions(), vars: []variable{{"$", map[string][]string(query)}}}
	r.now = now
	err := r.list(t.root, map[string][]string(query))
	return r.out.String(), err
}

type variable struct {
	name  string
	value any
}

// rendering is one execution.
type rendering struct {
	clock
	funcs map[string]function
	vars  []variable
	out   strings.Builder
	steps int
}

// clock is the time of one execution.
type clock struct{ now time.Time }

func (r *rendering) write(s string) error {
	if r.out.Len()+len(s) > maxText {
		return errTooLong
	}
	r.out.WriteString(s)
	return nil
}

func (r *rendering) list(l *parse.ListNode, dot any) error {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if r.steps++; r.steps > maxText {
			return errTooLong
		}
		if err := r.node(n, dot); err != nil {
			return err
		}
	}
	return nil
}

func (r *rendering) node(n parse.Node, dot any) error {
	switch n := n.(type) {
	case *parse.TextNode:
		return r.write(string(n.Text))
	case *parse.CommentNode:
		return nil
	case *parse.ActionNode:
		v, err := r.pipe(n.Pipe, dot)
		if err != nil || len(n.Pipe.Decl) > 0 {
			return err
		}
		return r.write(text(v))
	case *parse.IfNode:
		return r.branch(&n.BranchNode, dot, false)
	case *parse.WithNode:
		return r.branch(&n.BranchNode, dot, true)
	case *parse.RangeNode:
		return r.ranged(&n.BranchNode, dot)
	}
	return fmt.Errorf("%s is not understood", n)
}

// branch is an if, or a with, whose value becomes the dot.
func (r *rendering) branch(n *parse.BranchNode, dot any, with bool) error {
	depth := len(r.vars)
	defer func() { r.vars = r.vars[:depth] }()
	v, err := r.pipe(n.Pipe, dot)
	switch {
	case err != nil:
		return err
	case !truth(v):
		return r.list(n.ElseList, dot)
	case with:
		return r.list(n.List, v)
	}
	return r.list(n.List, dot)
}

func (r *rendering) ranged(n *parse.BranchNode, dot any) error {
	depth := len(r.vars)
	defer func() { r.vars = r.vars[:depth] }()
	v, err := r.pipe(n.Pipe, dot)
	if err != nil {
		return err
	}
	items, ok := v.([]string)
	if !ok && v != nil {
		return fmt.Errorf("range over a %T is not understood", v)
	}
	if len(items) == 0 {
		return r.list(n.ElseList, dot)
	}
	for i, item := range items {
		r.vars = r.vars[:depth]
		switch decl := n.Pipe.Decl; len(decl) {
		case 1:
			r.vars = append(r.vars, variable{decl[0].Ident[0], item})
		case 2:
			r.vars = append(r.vars, variable{decl[0].Ident[0], i}, variable{decl[1].Ident[0], item})
		}
		if err := r.list(n.List, item); err != nil {
			return err
		}
	}
	return nil
}

// pipe evaluates commands, each of which gets the value of the one before it as
// its last argument.
func (r *rendering) pipe(p *parse.PipeNode, dot any) (any, error) {
	var value any
	for i, cmd := range p.Cmds {
		var piped []any
		if i > 0 {
			piped = []any{value}
		}
		var err error
		if value, err = r.command(cmd, dot, piped); err != nil {
			return nil, err
		}
	}
	for _, decl := range p.Decl {
		if p.IsAssign {
			r.assign(decl.Ident[0], value)
		} else {
			r.vars = append(r.vars, variable{decl.Ident[0], value})
		}
	}
	return value, nil
}

func (r *rendering) assign(name string, value any) {
	for i := len(r.vars) - 1; i >= 0; i-- {
		if r.vars[i].name == name {
			r.vars[i].value = value
			return
		}
	}
}

func (r *rendering) command(cmd *parse.CommandNode, dot any, piped []any) (any, error) {
	first := cmd.Args[0]
	if id, ok := first.(*parse.IdentifierNode); ok {
		return r.call(id.Ident, cmd.Args[1:], dot, piped)
	}
	if len(cmd.Args) > 1 || len(piped) > 0 {
		return nil, fmt.Errorf("%s is no function", first)
	}
	return r.arg(first, dot)
}

func (r *rendering) call(name string, args []parse.Node, dot any, piped []any) (any, error) {
	values := make([]any, 0, len(args)+1)
	for _, a := range args {
		v, err := r.arg(a, dot)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	values = append(values, piped...)
	f := r.funcs[name]
	if len(values) < f.least || f.most >= 0 && len(values) > f.most {
		return nil, fmt.Errorf("%s: wrong number of arguments: %d", name, len(values))
	}
	v, err := f.call(&r.clock, values)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

func (r *rendering) arg(n parse.Node, dot any) (any, error) {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot, nil
	case *parse.NilNode:
		return nil, nil
	case *parse.StringNode:
		return n.Text, nil
	case *parse.BoolNode:
		return n.True, nil
	case *parse.NumberNode:
		if n.IsInt {
			return int(n.Int64), nil
		}
		return n.Float64, nil
	case *parse.FieldNode:
		return field(dot, n.Ident)
	case *parse.VariableNode:
		for _, v := range slices.Backward(r.vars) {
			if v.name == n.Ident[0] {
				return field(v.value, n.Ident[1:])
			}
		}
		return nil, fmt.Errorf("%s is not defined", n.Ident[0])
	case *parse.PipeNode:
		return r.pipe(n, dot)
	case *parse.IdentifierNode:
		return r.call(n.Ident, nil, dot, nil)
	}
	return nil, fmt.Errorf("%s is not understood", n)
}

// field finds .name of the query; nothing where there is none.
func field(v any, names []string) (any, error) {
	if len(names) == 0 {
		return v, nil
	}
	query, ok := v.(map[string][]string)
	if !ok || len(names) > 1 {
		return nil, fmt.Errorf("a %T has no field %s", v, names[len(names)-1])
	}
	return query[names[0]], nil
}

// truth is what if goes by: anything but what is empty.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case int:
		return v != 0
	case float64:
		return v != 0
	case []string:
		return len(v) > 0
	case map[string][]string:
		return len(v) > 0
	case time.Time:
		return !v.IsZero()
	}
	return !reflect.ValueOf(v).IsZero()
}

// text is how a value is printed.
func text(v any) string {
	if v == nil {
		return "<no value>"
	}
	return fmt.Sprint(v)
}
