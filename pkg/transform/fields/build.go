package fields

import (
	"errors"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Errors of names of fields.
var (
	errName  = errors.New("brackets or dots of a name that do not match")
	errMixed = errors.New("a field that is a text, a list and an object at once")
	errIndex = errors.New("an index of a list that leaves some out")
	errDeep  = errors.New("too many names within names")
)

// Builder makes a tree of names and texts.
type Builder struct {
	Opt *Options
	Doc *value.Doc
	Lim *value.Limits

	root    value.ID
	count   int                  // of members
	seen    map[place]value.ID   // where members are, once there are more than a few
	lengths map[value.ID]int     // of lists that names with brackets have made
	lists   map[element]value.ID // their elements
}

// place is where a member is, element where one of a list is.
type (
	place struct {
		object value.ID
		name   string
	}
	element struct {
		list  value.ID
		index int
	}
)

// Root is the object that has the fields.
func (b *Builder) Root() value.ID {
	if b.root == value.None {
		b.root = b.Doc.New(value.Object, "")
	}
	return b.root
}

// Add puts a field, with a node that is in nothing, into the tree. A name that
// is there twice makes a list.
func (b *Builder) Add(name string, id value.ID) error {
	root := b.Root()
	switch b.Opt.Nested {
	case Dots:
		return b.add(root, strings.Split(name, "."), id)
	case Brackets:
		steps, err := brackets(name)
		if err != nil {
			return err
		}
		return b.add(root, steps, id)
	}
	return b.put(root, name, id)
}

// brackets splits a name as in a[b][0][].
func brackets(name string) ([]string, error) {
	i := strings.IndexByte(name, '[')
	if i < 0 {
		return []string{name}, nil
	}
	if i == 0 || !strings.HasSuffix(name, "]") {
		return nil, errName
	}
	steps := []string{name[:i]}
	for step := range strings.SplitSeq(name[i+1:len(name)-1], "][") {
		if strings.ContainsAny(step, "[]") {
			return nil, errName
		}
		steps = append(steps, step)
	}
	return steps, nil
}

func (b *Builder) add(at value.ID, steps []string, id value.ID) error {
	if len(steps) > b.Lim.Depth {
		return errDeep
	}
	for i, step := range steps[:len(steps)-1] {
		kind := value.Object
		if next := steps[i+1]; b.Opt.Nested == Brackets && (next == "" || isIndex(next)) {
			kind = value.List
		}
		next, err := b.step(at, step, kind)
		if err != nil {
			return err
		}
		at = next
	}
	step := steps[len(steps)-1]
	if b.Doc.At(at).Kind == value.List {
		if step != "" && step != strconv.Itoa(b.lengths[at]) {
			return errIndex
		}
		b.append(at, id)
		return nil
	}
	if step == "" {
		return errName
	}
	return b.put(at, step, id)
}

// append puts a node at the end of a list.
func (b *Builder) append(list, id value.ID) {
	if b.lengths == nil {
		b.lengths, b.lists = make(map[value.ID]int), make(map[element]value.ID)
	}
	b.Doc.Add(list, id)
	b.lists[element{list, b.lengths[list]}] = id
	b.lengths[list]++
	if b.seen != nil {
		b.note(id)
	}
}

// insert puts a node under a new name into an object.
func (b *Builder) insert(object value.ID, name string, id value.ID) {
	b.Doc.At(id).Name = name
	b.Doc.Add(object, id)
	if b.count++; b.seen != nil {
		b.seen[place{object, name}] = id
		b.note(id)
	}
}

func isIndex(s string) bool { return len(s) < 10 && value.NumberLen(s) == len(s) && s[0] != '-' }

// step goes into what has a name, which is made if it isn't there.
func (b *Builder) step(at value.ID, step string, kind value.Kind) (value.ID, error) {
	list := b.Doc.At(at).Kind == value.List
	found := value.None
	switch {
	case list && step == "": // a new element
	case list:
		i, err := strconv.Atoi(step)
		if err != nil {
			return value.None, errMixed
		}
		if i > b.lengths[at] {
			return value.None, errIndex
		}
		found = b.lists[element{at, i}]
	case step == "":
		return value.None, errName
	default:
		found = b.find(at, step)
	}
	if found == value.None {
		found = b.Doc.New(kind, "")
		if list {
			b.append(at, found)
		} else {
			b.insert(at, step, found)
		}
	}
	if b.Doc.At(found).Kind != kind {
		return value.None, errMixed
	}
	return found, nil
}

// linear is up to how many names are searched one by one.
const linear = 16

// put puts a node into an object, or into the list of those of its name.
func (b *Builder) put(object value.ID, name string, id value.ID) error {
	old := b.find(object, name)
	switch {
	case old == value.None:
		b.insert(object, name, id)
		return nil
	case b.Opt.Nested == Brackets, b.Doc.At(old).Kind == value.Object && b.Doc.At(id).Kind != value.Object:
		return errMixed
	}
	b.Doc.Repeat(old, id)
	return nil
}

func (b *Builder) find(object value.ID, name string) value.ID {
	if b.count <= linear {
		return b.Doc.Get(object, name)
	}
	if b.seen == nil {
		b.seen = make(map[place]value.ID, 4*linear)
		b.note(b.root)
	}
	return b.seen[place{object, name}]
}

// note notes where all members below a node are: a file has some from the beginning.
func (b *Builder) note(parent value.ID) {
	object := b.Doc.At(parent).Kind == value.Object
	for at := b.Doc.At(parent).First; at != value.None; at = b.Doc.At(at).Next {
		if object {
			b.seen[place{parent, b.Doc.At(at).Name}] = at
		}
		b.note(at)
	}
}
