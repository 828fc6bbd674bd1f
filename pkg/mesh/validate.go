package mesh

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
)

// Validate checks objects against each other, and those that came from no
// document each by itself as well. Objects may come from several calls of
// Decode.
func Validate(objs []Object, opts ...Option) Errors {
	o := collect(opts)
	var errs Errors
	for _, obj := range objs {
		if !obj.source().checked {
			errs = append(errs, check(obj, o)...)
		}
	}
	errs = append(errs, duplicates(objs)...)
	if !o.services {
		// In a cluster selectors decide which listeners meet in one pod.
		errs = append(errs, sharedPorts(objs)...)
	}
	return errs.sorted()
}

// check looks at one object by itself.
func check(obj Object, o options) Errors {
	switch obj := obj.(type) {
	case *Ambassador:
		return checkAmbassador(obj, o)
	case *Adapter:
		return checkAdapter(obj, o)
	}
	return nil
}

// duplicates finds objects of the same kind and name. Those of different kinds
// may share one, as in Kubernetes.
func duplicates(objs []Object) Errors {
	var errs Errors
	first := make(map[string]Object, len(objs))
	for _, obj := range objs {
		if obj.Meta().Name == "" {
			continue
		}
		name := KindOf(obj) + " " + obj.Key()
		if other, ok := first[name]; ok {
			errs = append(errs, errorAt(obj, "metadata.name",
				fmt.Sprintf("there are two objects %s", obj.Key()), "the other is "+whereIs(other, "metadata.name")))
			continue
		}
		first[name] = obj
	}
	return errs
}

// sharedPorts finds listeners that one process cannot both bind.
func sharedPorts(objs []Object) Errors {
	var errs Errors
	for i, obj := range objs {
		a, ok := obj.(*Ambassador)
		if !ok {
			continue
		}
		for _, earlier := range objs[:i] {
			b, ok := earlier.(*Ambassador)
			if ok && b.Key() != a.Key() && a.Spec.Listen.Overlaps(&b.Spec.Listen) {
				errs = append(errs, errorAt(a, "spec.listen", "binds to the same place as "+b.Key(),
					"which is "+whereIs(b, "spec.listen")))
				break
			}
		}
	}
	return errs
}

// Overlaps reports whether two listeners cannot bind side by side.
func (l *Listen) Overlaps(other *Listen) bool {
	if l.Path != "" || other.Path != "" {
		return l.Path == other.Path
	}
	if l.Port == 0 || l.Port != other.Port {
		return false
	}
	mine, err1 := netip.ParseAddr(cmp.Or(l.Address, "127.0.0.1"))
	theirs, err2 := netip.ParseAddr(cmp.Or(other.Address, "127.0.0.1"))
	if err1 != nil || err2 != nil {
		return false
	}
	if mine == netip.IPv6Unspecified() || theirs == netip.IPv6Unspecified() {
		return true // it takes IPv4 too
	}
	return mine == theirs || mine.Is4() == theirs.Is4() && (mine.IsUnspecified() || theirs.IsUnspecified())
}

func errorAt(obj Object, path, reason, hint string) *Error {
	src := obj.source()
	at := src.at(path)
	return &Error{
		File: src.file, Line: at.line, Column: at.column, Object: obj.Key(),
		Path: path, Reason: reason, Hint: hint,
	}
}

func whereIs(obj Object, path string) string {
	src := obj.source()
	if src.file == "" {
		return obj.Key()
	}
	return src.file + ":" + strconv.Itoa(src.at(path).line)
}
