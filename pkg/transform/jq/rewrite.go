package jq

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/itchyny/gojq"
)

// The interpreter bounds no memory: a step may double a string, write a thousand
// copies of one, or make a list of a million nulls. So every part of a program of
// which a step may take more than a little is replaced by one that first asks the
// meter whether there is enough left. The value that it asks for goes into a
// variable that nobody reads, so that paths stay paths.

// templates of what takes the place of operators; _A and _B are the operands.
func operator(op gojq.Operator) string {
	var guard string
	switch op {
	case gojq.OpAdd:
		guard = "_guard_add"
	case gojq.OpSub, gojq.OpMul, gojq.OpDiv, gojq.OpMod:
		guard = "_guard_times"
	case gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt, gojq.OpGe, gojq.OpLe:
		guard = "_guard_same"
	case gojq.OpAssign, gojq.OpModify, gojq.OpUpdateAlt:
		return paths + "(_A " + op.String() + " _B)"
	case gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul, gojq.OpUpdateDiv, gojq.OpUpdateMod:
		plain := gojq.Operator(int(op) - int(gojq.OpUpdateAdd) + int(gojq.OpAdd))
		return paths + "(_B as $__v | _A |= (" + strings.NewReplacer("_A", ".", "_B", "$__v").Replace(operator(plain)) + "))"
	default:
		return ""
	}
	return guard + "(_A; _B) as [$__a, $__b] | $__a " + op.String() + " $__b"
}

// paths looks at all paths that an assignment changes, before it does.
const paths = ". as $__d | _guard_deep(1) as $__x | (reduce path(_A) as $__p (null; $__d | _guard_path($__p))) as $__x | "

// allowed are the functions that programs may use, with what has to be asked first:
// "" for nothing; a template, where _F is the call and _A its argument; "-" for an
// argument that must be a text, and cannot be computed.
func allowed() map[string]string {
	all := map[string]string{}
	add := func(template, names string) {
		for name := range strings.FieldsSeq(names) {
			all[name] = template
		}
	}
	add("", `empty path builtins length utf8bytelength has type startswith endswith ltrimstr rtrimstr trimstr ltrim rtrim trim
		abs not select map in arrays objects iterables booleans numbers finites normals strings nulls values scalars first last
		isempty all any limit skip nth error infinite nan isfinite isinfinite isnan isnormal toboolean tonumber getpath
		floor round ceil trunc fabs sqrt cbrt pow exp exp2 exp10 expm1 log log2 log10 log1p logb significand rint nearbyint
		sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh atan2 fmin fmax fmod fma hypot ldexp scalb scalbln
		frexp modf copysign drem fdim nextafter nexttoward remainder gamma lgamma tgamma erf erfc j0 j1 y0 y1 jn yn
		gmtime localtime mktime strftime strflocaltime strptime now todate fromdate todateiso8601 fromdateiso8601 toarray
		have_literal_numbers have_decnum getpath map_values with_entries from_entries to_entries walk paths del`)
	add("_guard_shallow(2) as $__x | _F", "keys keys_unsorted reverse ascii_downcase ascii_upcase")
	add("_guard_shallow(16) as $__x | _F", "explode implode")
	add("_guard_each as $__x | _F", "add")
	add("_guard_deep(4) as $__x | _F", `tostring tojson flatten sort unique min max group_by sort_by unique_by min_by max_by
		map_values with_entries from_entries to_entries walk paths del delpaths format`)
	add("_guard_deep(32) as $__x | _F", "fromjson")
	add("_guard_grid as $__x | _F", "transpose")
	add("_guard_join(_A) as $__a | join($__a)", "join")
	for name := range strings.FieldsSeq("contains inside indices index rindex bsearch") {
		all[name] = "_guard_all(_A) as [$__a] | " + name + "($__a)"
	}
	add("-_guard_match as $__x | _F", "match capture scan splits sub gsub")
	add("-_guard_shallow(16) as $__x | _F", "test")
	add("_guard_shallow(17) as $__x | _F", "split")
	return all
}

// rewriter puts guards into a program. own has the names of the functions that it
// defines itself.
type rewriter struct {
	allowed map[string]string
	own     map[string]bool
	err     error
}

// rewrite changes a value of the program's tree, from the inside out.
func (r *rewriter) rewrite(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || r.err != nil {
			return
		}
		r.rewrite(v.Elem())
		switch n := v.Interface().(type) {
		case *gojq.Query:
			r.query(n)
		case *gojq.Term:
			r.term(n)
		case *gojq.String:
			r.text(n)
		case *gojq.Index:
			r.index(n)
		}
	case reflect.Slice:
		for i := range v.Len() {
			r.rewrite(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				r.rewrite(v.Field(i))
			}
		}
	}
}

func (r *rewriter) query(q *gojq.Query) {
	if template := operator(q.Op); template != "" {
		made := r.fill(template, map[string]*gojq.Query{"_A": q.Left, "_B": q.Right})
		q.Left, q.Right, q.Op, q.Patterns, q.Term = nil, nil, 0, nil, queryTerm(made)
	}
}

func queryTerm(q *gojq.Query) *gojq.Term { return &gojq.Term{Type: gojq.TermTypeQuery, Query: q} }

func (r *rewriter) term(t *gojq.Term) {
	r.slices(t)
	var made *gojq.Query
	switch {
	case t.Type == gojq.TermTypeFunc && !strings.HasPrefix(t.Func.Name, "$") && !r.own[t.Func.Name]:
		made = r.call(t.Func)
	case t.Type == gojq.TermTypeFormat && t.Str == nil:
		made = r.fill("_guard_deep(8) as $__x | _F", map[string]*gojq.Query{"_F": {Term: &gojq.Term{Type: t.Type, Format: t.Format}}})
	}
	if made != nil {
		*t = gojq.Term{Type: gojq.TermTypeQuery, Query: made, SuffixList: t.SuffixList}
	}
}

// call returns what takes the place of a call, nil if it stays.
func (r *rewriter) call(f *gojq.Func) *gojq.Query {
	template, ok := r.allowed[f.Name]
	if !ok {
		r.err = fmt.Errorf("the function %s %w", f.Name, ErrRefused)
		return nil
	}
	template, constant := strings.CutPrefix(template, "-")
	if f.Name == "split" && len(f.Args) == 2 {
		template, constant = r.allowed["splits"][1:], true
	}
	if constant && !isText(f.Args[0]) {
		r.err = fmt.Errorf("a pattern of %s that is not a text in quotes %w", f.Name, ErrRefused)
		return nil
	}
	switch {
	case f.Name == "add" && len(f.Args) == 1:
		return r.fill("[_A] | _guard_each as $__x | add", map[string]*gojq.Query{"_A": f.Args[0]})
	case template == "":
		return nil
	case strings.HasSuffix(f.Name, "sub"): // what takes a match's place
		f.Args[1] = r.fill("_A | _guard_sub", map[string]*gojq.Query{"_A": f.Args[1]})
	case strings.HasSuffix(f.Name, "_by"): // what elements are compared by
		f.Args[0] = r.fill("_A | (_guard_deep(4) as $__x | .)", map[string]*gojq.Query{"_A": f.Args[0]})
	}
	with := map[string]*gojq.Query{"_F": {Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: f}}}
	if len(f.Args) > 0 {
		with["_A"] = f.Args[0]
	}
	return r.fill(template, with)
}

// isText tells whether a query is a text in quotes.
func isText(q *gojq.Query) bool {
	return q.Term != nil && q.Term.Type == gojq.TermTypeString && q.Term.Str.Queries == nil && len(q.Term.SuffixList) == 0
}

// text puts a guard before each part of a text that is computed.
func (r *rewriter) text(s *gojq.String) {
	for i, q := range s.Queries {
		if q.Term == nil || q.Term.Str == nil {
			s.Queries[i] = &gojq.Query{Term: queryTerm(r.fill("_A | (_guard_deep(8) as $__x | .)", map[string]*gojq.Query{"_A": q}))}
		}
	}
}

// index lets no list be an index: it would be searched for.
func (r *rewriter) index(x *gojq.Index) {
	if x.Start != nil && !x.IsSlice && !isNumber(x.Start) {
		x.Start = r.fill("_A | _guard_index", map[string]*gojq.Query{"_A": x.Start})
	}
}

func isNumber(q *gojq.Query) bool {
	return q.Term != nil && q.Term.Type == gojq.TermTypeNumber && len(q.Term.SuffixList) == 0
}

// slices puts a guard before each slice of a term, which copies strings: what is
// before the slice becomes a query, whose value the guard sees.
func (r *rewriter) slices(t *gojq.Term) {
	if t.Type == gojq.TermTypeIndex && t.Index.IsSlice {
		*t = gojq.Term{
			Type:       gojq.TermTypeIdentity,
			SuffixList: append([]*gojq.Suffix{{Index: t.Index}}, t.SuffixList...),
		}
	}
	for i, s := range t.SuffixList {
		if s.Index == nil || !s.Index.IsSlice {
			continue
		}
		before, after := *t, t.SuffixList[i+1:]
		before.SuffixList = t.SuffixList[:i:i]
		template := ". as $__o | _A | _guard_shallow(4) as $__x | .["
		with := map[string]*gojq.Query{"_A": {Term: &before}}
		if s.Index.Start != nil {
			template += "($__o | _B)"
			with["_B"] = s.Index.Start
		}
		template += ":"
		if s.Index.End != nil {
			template += "($__o | _C)"
			with["_C"] = s.Index.End
		}
		*t = *queryTerm(r.fill(template+"]", with))
		t.SuffixList = after
		r.slices(t)
		return
	}
}

// fill parses a template and puts queries where their names are.
func (r *rewriter) fill(template string, with map[string]*gojq.Query) *gojq.Query {
	q, err := gojq.Parse(template)
	if err != nil {
		r.err = fmt.Errorf("a guard: %w", err)
		return nil
	}
	replace(reflect.ValueOf(q), with)
	return q
}

func replace(v reflect.Value, with map[string]*gojq.Query) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		t, term := reflect.TypeAssert[*gojq.Term](v)
		if term && t.Type == gojq.TermTypeFunc && with[t.Func.Name] != nil {
			suffixes := t.SuffixList
			*t = *queryTerm(with[t.Func.Name])
			t.SuffixList = suffixes
			return
		}
		replace(v.Elem(), with)
	case reflect.Slice:
		for i := range v.Len() {
			replace(v.Index(i), with)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				replace(v.Field(i), with)
			}
		}
	}
}
