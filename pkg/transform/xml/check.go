package xml

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Check refuses options that cannot work, by the name of the option.
func (o *Options) Check() error {
	var errs []error
	fail := func(field, reason string) { errs = append(errs, fmt.Errorf("%s: %s", field, reason)) }
	if o.Root != "" && !IsName(o.Root) {
		fail("root", fmt.Sprintf("%q is no name that an element can have", o.Root))
	}
	if o.Item != "" && (!IsName(o.Item) || o.Root == "") {
		fail("item", "it needs a name that an element can have, and root")
	}
	for field, name := range map[string]string{"attribute": o.attributePrefix(), "text": o.textName()} {
		if r, _ := utf8.DecodeRuneInString(name); isNameRune(r, true) {
			fail(field, fmt.Sprintf("%q may begin the name of an element", name))
		}
	}
	if strings.HasPrefix(o.textName(), o.attributePrefix()) || strings.HasPrefix(contentName, o.attributePrefix()) || o.textName() == contentName {
		fail("text", "attributes and text would have the same names")
	}
	switch o.Content {
	case "", Strict, Group, Ordered:
	default:
		fail("content", fmt.Sprintf("%q is not strict, group or ordered", o.Content))
	}
	switch o.Nulls {
	case "", NullNil, NullEmpty, NullOmit:
	default:
		fail("nulls", fmt.Sprintf("%q is not nil, empty or omit", o.Nulls))
	}
	return errors.Join(append(errs, o.checkNamespaces()...)...)
}

func (o *Options) checkNamespaces() []error {
	var errs []error
	seen := make(map[string]string)
	for _, prefix := range slices.Sorted(maps.Keys(o.Namespaces)) {
		namespace := o.Namespaces[prefix]
		field := "namespaces." + prefix
		switch other, twice := seen[namespace]; {
		case twice:
			errs = append(errs, fmt.Errorf("%s: the same namespace as %q", field, other))
		case prefix != "" && !isPart(prefix), strings.HasPrefix(strings.ToLower(prefix), "xml"), prefix == "xsi":
			errs = append(errs, fmt.Errorf("%s: no prefix, or one that is reserved", field))
		case namespace == "" || namespace == nsSchema || namespace == nsXML || !utf8.ValidString(namespace) || strings.ContainsFunc(namespace, func(r rune) bool { return !isChar(r) }):
			errs = append(errs, fmt.Errorf("%s: no namespace, or one that is reserved", field))
		}
		seen[namespace] = prefix
	}
	return errs
}

// CanName tells whether a member of that name can be an element, an attribute or
// text.
func (o *Options) CanName(name string) bool {
	attribute, is := strings.CutPrefix(name, o.attributePrefix())
	return is && IsName(attribute) || IsName(name) || name == o.textName() || name == contentName
}
