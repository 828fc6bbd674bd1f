package value

// linear is up to how many members an object is searched for a name.
const linear = 16

// Names finds names that an object has twice while it is read. The zero value is
// ready.
type Names struct {
	count int
	seen  map[string]struct{} // once there are more than a few
}

// Twice tells whether an object, to which all names that were asked for before
// have been added, has this one.
func (n *Names) Twice(d *Doc, object ID, name string) bool {
	n.count++
	if n.count <= linear {
		return d.Get(object, name) != None
	}
	if n.seen == nil {
		n.seen = make(map[string]struct{}, 4*linear)
		for at := d.At(object).First; at != None; at = d.At(at).Next {
			n.seen[d.At(at).Name] = struct{}{}
		}
	}
	if _, ok := n.seen[name]; ok {
		return true
	}
	n.seen[name] = struct{}{}
	return false
}
