package mesh

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// ErrorAtName is an Error about a file or a variable, at the first field that names
// it. What no object names has no place.
func ErrorAtName(objs []Object, name, reason, hint string) *Error {
	for _, obj := range objs {
		at := ""
		eachName(reflect.ValueOf(obj).Elem(), "", func(path, value string) {
			if value == name && at == "" {
				at = path
			}
		})
		if at != "" {
			return errorAt(obj, at, reason, hint)
		}
	}
	return &Error{Reason: reason, Hint: hint}
}

// eachName calls visit for all fields that name files and variables, in order.
func eachName(v reflect.Value, path string, visit func(path, value string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			eachName(v.Elem(), path, visit)
		}
	case reflect.Struct:
		fields, names := fieldsOf(v)
		for _, name := range names {
			eachName(fields[name], join(path, name), visit)
		}
	case reflect.Map:
		values := make(map[string]reflect.Value, v.Len())
		for key, value := range v.Seq2() {
			values[key.String()] = value
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			eachName(values[key], join(path, key), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			eachName(v.Index(i), path+"["+strconv.Itoa(i)+"]", visit)
		}
	case reflect.String:
		if strings.HasSuffix(path, "File") || strings.HasSuffix(path, ".file") || strings.HasSuffix(path, "Env") {
			visit(path, v.String())
		}
	}
}
