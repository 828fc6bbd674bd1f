package mesh

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds the work for one document: aliases can make a small text
// stand for an immense tree.
const maxNodes = 1 << 18

// maxErrors bounds what is said of one document.
const maxErrors = 100

// walker fills Go values from YAML nodes and remembers where each field stood.
type walker struct {
	file     string
	root     reflect.Type // of the document
	protocol string       // that the document says, good or not
	pos      map[string]position
	errs     Errors
	nodes    int
}

func newWalker(file string) *walker {
	return &walker{file: file, pos: make(map[string]position)}
}

// scalar is a type with a text form of its own.
type scalar interface{ parse(text string) error }

// enumerated is a string type of which only some values are allowed.
type enumerated interface{ Values() []string }

func (w *walker) fail(n *yaml.Node, path, reason, hint string) {
	if len(w.errs) < maxErrors {
		w.errs = append(w.errs, &Error{
			File: w.file, Line: n.Line, Column: n.Column, Path: path, Reason: reason, Hint: hint,
		})
	}
}

// kind reads the document's kind without judging the rest.
func (w *walker) kind(root *yaml.Node) string {
	root = resolve(root)
	if root.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "kind" {
			return resolve(root.Content[i+1]).Value
		}
	}
	return ""
}

func (w *walker) decode(root *yaml.Node, into any) {
	v := reflect.ValueOf(into).Elem()
	w.root, w.protocol = v.Type(), protocolOf(root)
	w.value(root, v, "")
}

// resolve follows aliases. yaml refuses an alias to a node that holds it.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func (w *walker) value(n *yaml.Node, v reflect.Value, path string) {
	if w.nodes++; w.nodes >= maxNodes {
		if w.nodes == maxNodes {
			w.fail(n, path, "the document is too large", "fewer aliases (*name) make it smaller")
		}
		return
	}
	w.pos[path] = position{n.Line, n.Column}
	n = resolve(n)
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if s, ok := reflect.TypeAssert[scalar](v.Addr()); ok {
		w.scalar(n, s, path)
		return
	}
	if r, ok := reflect.TypeAssert[raw](v.Addr()); ok {
		if err := r.read(n, &w.nodes); err != nil {
			w.fail(n, path, err.Error(), "")
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		w.structure(n, v, path)
	case reflect.Map:
		w.mapping(n, v, path)
	case reflect.Slice:
		w.list(n, v, path)
	default:
		w.basic(n, v, path)
	}
}

func (w *walker) scalar(n *yaml.Node, s scalar, path string) {
	if n.Kind != yaml.ScalarNode {
		w.fail(n, path, "must be a single value, not "+describe(n), "")
		return
	}
	if err := s.parse(n.Value); err != nil {
		w.fail(n, path, err.Error(), "it is "+strconv.Quote(clip(n.Value)))
	}
}

func (w *walker) basic(n *yaml.Node, v reflect.Value, path string) {
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode {
		tag = ""
	}
	switch v.Kind() {
	case reflect.String:
		if tag == "!!str" {
			v.SetString(n.Value)
			w.enumeration(n, v, path)
			return
		}
		w.fail(n, path, "must be a string, not "+describe(n), hintOfString(n, v, tag))
	case reflect.Bool:
		if tag != "!!bool" {
			w.fail(n, path, "must be true or false, not "+describe(n), hintOfQuotes(n, "!!bool"))
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Uint32, reflect.Uint64:
		w.unsigned(n, v, tag, path)
	default:
		panic("mesh: no decoding for " + v.Type().String())
	}
}

// hintOfString is what to say where something else than a string stands for one.
func hintOfString(n *yaml.Node, v reflect.Value, tag string) string {
	if tag == "" {
		return ""
	}
	if e, ok := reflect.TypeAssert[enumerated](v); ok && !slices.Contains(e.Values(), n.Value) {
		return hintOfValue(e, n.Value)
	}
	return "write it in quotes: " + strconv.Quote(clip(n.Value))
}

// hintOfQuotes is what to say where a string stands for a value that it would be
// without its quotes.
func hintOfQuotes(n *yaml.Node, wanted string) string {
	bare := yaml.Node{Kind: yaml.ScalarNode, Value: n.Value}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str" || bare.ShortTag() != wanted {
		return ""
	}
	return "write it without quotes: " + clip(n.Value)
}

func (w *walker) unsigned(n *yaml.Node, v reflect.Value, tag, path string) {
	if tag != "!!int" {
		w.fail(n, path, "must be a whole number, not "+describe(n), hintOfQuotes(n, "!!int"))
		return
	}
	var u uint64
	if err := n.Decode(&u); err != nil || v.OverflowUint(u) {
		w.fail(n, path, fmt.Sprintf("must be from 0 to %d", uint64(1)<<(v.Type().Bits()-1)*2-1), "")
		return
	}
	v.SetUint(u)
}

func (w *walker) enumeration(n *yaml.Node, v reflect.Value, path string) {
	e, ok := reflect.TypeAssert[enumerated](v)
	if !ok || slices.Contains(e.Values(), n.Value) {
		return
	}
	w.fail(n, path, fmt.Sprintf("unknown value %q", clip(n.Value)), hintOfValue(e, n.Value))
	v.SetString("")
}

func (w *walker) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		hint := ""
		if n.Kind == yaml.ScalarNode && v.Type().Elem().Kind() == reflect.String {
			hint = "write it in brackets: [" + clip(n.Value) + "]"
		}
		w.fail(n, path, "must be a list, not "+describe(n), hint)
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		w.value(item, out.Index(i), path+"["+strconv.Itoa(i)+"]")
	}
	v.Set(out)
}

func (w *walker) mapping(n *yaml.Node, v reflect.Value, path string) {
	out := reflect.MakeMap(v.Type())
	w.pairs(n, path, func(key, value *yaml.Node) {
		elem := reflect.New(v.Type().Elem()).Elem()
		w.value(value, elem, join(path, key.Value))
		out.SetMapIndex(reflect.ValueOf(key.Value), elem)
	})
	v.Set(out)
}

func (w *walker) structure(n *yaml.Node, v reflect.Value, path string) {
	if e, ok := reflect.TypeAssert[exampled](v.Addr()); ok && n.Kind == yaml.ScalarNode {
		w.fail(n, path, "must be a mapping, not "+describe(n), e.example())
		return
	}
	fields, names := fieldsOf(v)
	w.pairs(n, path, func(key, value *yaml.Node) {
		if f, ok := fields[key.Value]; ok {
			w.value(value, f, join(path, key.Value))
			return
		}
		if serverOwned(path, key.Value) {
			return
		}
		w.fail(key, join(path, key.Value), "unknown field", w.hintOfField(v, path, key.Value, names))
	})
}

// pairs calls visit for each key of a mapping, once.
func (w *walker) pairs(n *yaml.Node, path string, visit func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		w.fail(n, path, "must be a mapping, not "+describe(n), "")
		return
	}
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), n.Content[i+1]
		switch line, double := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			w.fail(n.Content[i], path, "has a key that is not a string", "")
		case key.ShortTag() == "!!merge":
			w.fail(n.Content[i], path, "merge keys (<<) are not supported", "repeat the fields, or alias whole values")
		case key.ShortTag() != "!!str":
			w.fail(n.Content[i], join(path, key.Value), "the key must be a string", "write it in quotes: "+strconv.Quote(clip(key.Value)))
		case double:
			w.fail(n.Content[i], join(path, key.Value), "the field is there twice", fmt.Sprintf("first in line %d", line))
		default:
			seen[key.Value] = n.Content[i].Line
			visit(key, value)
		}
	}
}

// fieldsOf gives the fields of a struct by their JSON names, those of embedded
// structs included, and the names in order.
func fieldsOf(v reflect.Value) (fields map[string]reflect.Value, names []string) {
	fields = make(map[string]reflect.Value)
	for f, fv := range v.Fields() {
		if f.Anonymous {
			inner, innerNames := fieldsOf(fv)
			maps.Copy(fields, inner)
			names = append(names, innerNames...)
			continue
		}
		if !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		fields[name] = fv
		names = append(names, name)
	}
	return fields, names
}

// serverOwned reports the fields that a Kubernetes API adds to an object, and
// that `kubectl get -o yaml` therefore prints.
func serverOwned(path, key string) bool {
	switch path {
	case "":
		return key == "status"
	case "metadata":
		return slices.Contains([]string{
			"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
			"finalizers", "ownerReferences", "selfLink", "generateName",
			"deletionTimestamp", "deletionGracePeriodSeconds",
		}, key)
	}
	return false
}

// join adds a key to a path, quoted where a dot in it would mislead.
func join(path, key string) string {
	if strings.ContainsAny(key, ".[]\" ") || key == "" {
		return path + "[" + strconv.Quote(clip(key)) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return "the boolean " + clip(n.Value)
	case "!!str":
		return "the string " + strconv.Quote(clip(n.Value))
	}
	return strconv.Quote(clip(n.Value))
}

// clip keeps what is quoted in an error short.
func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
