// Package value is the tree between two formats: objects that keep the order of
// their members, numbers that keep their digits, strings of UTF-8.
//
// A Doc holds the nodes of a document in one slice, and they name each other by
// their index, so that a document costs few allocations and none when it is used
// again.
package value

// Kind is what a node is.
type Kind uint8

// The kinds. Bytes are what MessagePack and files of forms have beside strings:
// they become base64 where a format has no such thing.
const (
	Null Kind = iota
	False
	True
	Number
	String
	Bytes
	List
	Object
)

func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case False, True:
		return "a boolean"
	case Number:
		return "a number"
	case String:
		return "a string"
	case Bytes:
		return "binary data"
	case List:
		return "a list"
	default:
		return "an object"
	}
}

// ID names a node of a Doc. None is no node.
type ID int32

// None is no node.
const None ID = 0

// Node is a value. Those of a list or object are a chain: First, then the Next
// of each, to Last.
type Node struct {
	Name string // within an object
	Text string // of a string, a number as it was written, or the bytes
	// First and Last of a list's or object's values, and the Next of the one that
	// this node is in.
	First, Last, Next ID
	Kind              Kind
	Timestamp         bool // a string that MessagePack had, and gets, as a timestamp
}

// Doc holds the nodes of a document. The zero value is ready.
type Doc struct {
	nodes []Node // the first is that of None
	limit int
}

// Reset forgets the nodes, and bounds how many the next document may have.
func (d *Doc) Reset(limit int) {
	clear(d.nodes) // the strings, so that they can be collected
	d.nodes = append(d.nodes[:0], Node{})
	d.limit = limit
}

// Cap is for how many nodes there is room without taking more memory.
func (d *Doc) Cap() int { return cap(d.nodes) }

// Full tells whether the document has more nodes than it may: who adds nodes
// asks before it goes on.
func (d *Doc) Full() bool { return len(d.nodes) > d.limit }

// Len is the number of nodes, with those that were unlinked.
func (d *Doc) Len() int { return len(d.nodes) - 1 }

// Cut forgets all nodes after the first n.
func (d *Doc) Cut(n int) {
	clear(d.nodes[n+1:])
	d.nodes = d.nodes[:n+1]
}

// At returns a node, which stays valid until the next one is made.
func (d *Doc) At(id ID) *Node { return &d.nodes[id] }

// New makes a node that is in nothing yet.
func (d *Doc) New(kind Kind, text string) ID {
	if len(d.nodes) == 0 {
		d.nodes = append(d.nodes, Node{})
	}
	d.nodes = append(d.nodes, Node{Kind: kind, Text: text})
	return ID(len(d.nodes) - 1)
}

// Bool makes a boolean.
func (d *Doc) Bool(v bool) ID {
	if v {
		return d.New(True, "")
	}
	return d.New(False, "")
}

// Add puts a node, which is in nothing, at the end of a list or object.
func (d *Doc) Add(parent, child ID) {
	p := &d.nodes[parent]
	if p.Last == None {
		p.First = child
	} else {
		d.nodes[p.Last].Next = child
	}
	p.Last = child
}

// Set puts a node into an object under a name: in the place of the one that had
// it, or at the end.
func (d *Doc) Set(object ID, name string, child ID) {
	d.nodes[child].Name = name
	for prev, at := None, d.nodes[object].First; at != None; prev, at = at, d.nodes[at].Next {
		if d.nodes[at].Name == name {
			d.replace(object, prev, at, child)
			return
		}
	}
	d.Add(object, child)
}

// Update has f look at each value of a list or object, in order, and puts what f
// gives, which may be the same one or hold it, in the value's place and under its
// name. Meanwhile the value is in nothing, and f changes no others of the parent.
// i is the value's index. An error ends it and leaves the parent unusable.
func (d *Doc) Update(parent ID, f func(i int, at ID) (ID, error)) error {
	prev, at := None, d.nodes[parent].First
	for i := 0; at != None; i++ {
		name, next := d.nodes[at].Name, d.nodes[at].Next
		d.nodes[at].Next = None
		made, err := f(i, at)
		if err != nil {
			return err
		}
		d.nodes[made].Name, d.nodes[made].Next = name, next
		if prev == None {
			d.nodes[parent].First = made
		} else {
			d.nodes[prev].Next = made
		}
		prev, at = made, next
	}
	d.nodes[parent].Last = prev
	return nil
}

// Replace puts child where old, a value of parent, was. It gets old's name.
func (d *Doc) Replace(parent, old, child ID) {
	d.nodes[child].Name = d.nodes[old].Name
	for prev, at := None, d.nodes[parent].First; at != None; prev, at = at, d.nodes[at].Next {
		if at == old {
			d.replace(parent, prev, at, child)
			return
		}
	}
}

// ReplaceAfter is Replace of the value that comes after prev; None: of the first.
func (d *Doc) ReplaceAfter(parent, prev, old, child ID) {
	d.nodes[child].Name = d.nodes[old].Name
	d.replace(parent, prev, old, child)
}

func (d *Doc) replace(parent, prev, old, child ID) {
	if old == child {
		return
	}
	d.nodes[child].Next = d.nodes[old].Next
	d.nodes[old].Next = None
	if prev == None {
		d.nodes[parent].First = child
	} else {
		d.nodes[prev].Next = child
	}
	if d.nodes[parent].Last == old {
		d.nodes[parent].Last = child
	}
}

// Repeat puts a node, which is in nothing, into the list of those that have one
// name: old, which becomes that list if it is none.
func (d *Doc) Repeat(old, id ID) {
	d.nodes[id].Name = ""
	if d.nodes[old].Kind != List {
		first := d.New(Null, "")
		n := d.nodes[old]
		d.nodes[first] = Node{Kind: n.Kind, Text: n.Text, First: n.First, Last: n.Last, Timestamp: n.Timestamp}
		d.nodes[old] = Node{Kind: List, Name: n.Name, Next: n.Next, First: first, Last: first}
	}
	d.Add(old, id)
}

// Get returns an object's member, None if there is none.
func (d *Doc) Get(object ID, name string) ID {
	if d.nodes[object].Kind != Object {
		return None
	}
	for at := d.nodes[object].First; at != None; at = d.nodes[at].Next {
		if d.nodes[at].Name == name {
			return at
		}
	}
	return None
}

// Index returns a list's element, None if it has fewer.
func (d *Doc) Index(list ID, i int) ID {
	at := d.nodes[list].First
	for ; at != None && i > 0; i-- {
		at = d.nodes[at].Next
	}
	return at
}

// Count is the number of values in a list or object.
func (d *Doc) Count(parent ID) int {
	n := 0
	for at := d.nodes[parent].First; at != None; at = d.nodes[at].Next {
		n++
	}
	return n
}

// Unlink takes a value out of a list or object.
func (d *Doc) Unlink(parent, child ID) {
	for prev, at := None, d.nodes[parent].First; at != None; prev, at = at, d.nodes[at].Next {
		if at != child {
			continue
		}
		next := d.nodes[child].Next
		if prev == None {
			d.nodes[parent].First = next
		} else {
			d.nodes[prev].Next = next
		}
		if d.nodes[parent].Last == child {
			d.nodes[parent].Last = prev
		}
		d.nodes[child].Next = None
		return
	}
}

// Clone copies a node and what is in it; the copy is in nothing. It stops when
// the document is full.
func (d *Doc) Clone(id ID) ID {
	n := d.nodes[id]
	first := n.First
	n.First, n.Last, n.Next = None, None, None
	d.nodes = append(d.nodes, n)
	clone := ID(len(d.nodes) - 1)
	for at := first; at != None && !d.Full(); at = d.nodes[at].Next {
		child := d.Clone(at)
		d.Add(clone, child)
	}
	return clone
}
