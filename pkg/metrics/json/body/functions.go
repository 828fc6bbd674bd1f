package body

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// function is one of a template, with how many arguments it takes.
type function struct {
	least, most int // most < 0: any number
	call        func(c *clock, args []any) (any, error)
}

// functions are those of Go's templates, and those of Sprig that make sense in a
// request. Those that read the environment or files are not there.
func functions() map[string]function {
	all := map[string]function{}
	for _, some := range []map[string]function{logic(), strs(), numbers(), times()} {
		maps.Copy(all, some)
	}
	return all
}

func logic() map[string]function {
	return map[string]function{
		"and": {1, -1, func(_ *clock, a []any) (any, error) {
			for _, v := range a {
				if !truth(v) {
					return v, nil
				}
			}
			return a[len(a)-1], nil
		}},
		"or": {1, -1, func(_ *clock, a []any) (any, error) {
			for _, v := range a {
				if truth(v) {
					return v, nil
				}
			}
			return a[len(a)-1], nil
		}},
		"not":     {1, 1, func(_ *clock, a []any) (any, error) { return !truth(a[0]), nil }},
		"eq":      {2, 2, func(_ *clock, a []any) (any, error) { return text(a[0]) == text(a[1]), nil }},
		"ne":      {2, 2, func(_ *clock, a []any) (any, error) { return text(a[0]) != text(a[1]), nil }},
		"empty":   {1, 1, func(_ *clock, a []any) (any, error) { return !truth(a[0]), nil }},
		"default": {2, 2, func(_ *clock, a []any) (any, error) { return pick(truth(a[1]), a[1], a[0]), nil }},
		"ternary": {3, 3, func(_ *clock, a []any) (any, error) { return pick(truth(a[2]), a[0], a[1]), nil }},
		"coalesce": {1, -1, func(_ *clock, a []any) (any, error) {
			for _, v := range a {
				if truth(v) {
					return v, nil
				}
			}
			return nil, nil
		}},
		"len":   {1, 1, func(_ *clock, a []any) (any, error) { return length(a[0]) }},
		"index": {2, 2, func(_ *clock, a []any) (any, error) { return index(a[0], a[1]) }},
		"first": {1, 1, func(_ *clock, a []any) (any, error) { return end(a[0], false) }},
		"last":  {1, 1, func(_ *clock, a []any) (any, error) { return end(a[0], true) }},
		"list": {0, -1, func(_ *clock, a []any) (any, error) {
			out := make([]string, 0, len(a))
			for _, v := range a {
				out = append(out, text(v))
			}
			return out, nil
		}},
	}
}

func pick(first bool, a, b any) any {
	if first {
		return a
	}
	return b
}

func length(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return len(v), nil
	case []string:
		return len(v), nil
	case map[string][]string:
		return len(v), nil
	}
	return nil, fmt.Errorf("a %T has no length", v)
}

func index(v, at any) (any, error) {
	switch v := v.(type) {
	case map[string][]string:
		return v[text(at)], nil
	case []string:
		if i, ok := at.(int); ok && i >= 0 && i < len(v) {
			return v[i], nil
		}
		return nil, fmt.Errorf("a list of %d has no element %v", len(v), at)
	}
	return nil, fmt.Errorf("a %T has no elements", v)
}

func end(v any, last bool) (any, error) {
	list, ok := v.([]string)
	if !ok {
		return nil, fmt.Errorf("a %T is no list", v)
	}
	if len(list) == 0 {
		return nil, nil
	}
	if last {
		return list[len(list)-1], nil
	}
	return list[0], nil
}

// on makes a function of one text.
func on(f func(string) string) function {
	return function{1, 1, func(_ *clock, a []any) (any, error) { return f(text(a[0])), nil }}
}

// with makes a function of a text that comes last, after another.
func with(f func(arg, s string) any) function {
	return function{2, 2, func(_ *clock, a []any) (any, error) { return f(text(a[0]), text(a[1])), nil }}
}

func strs() map[string]function {
	return map[string]function{
		"upper": on(strings.ToUpper), "lower": on(strings.ToLower), "trim": on(strings.TrimSpace),
		"quote": on(strconv.Quote), "squote": on(func(s string) string { return "'" + s + "'" }), "toString": on(func(s string) string { return s }),
		"b64enc":   on(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		"urlquery": on(url.QueryEscape), "js": on(jsonInner),
		"trimPrefix": with(func(p, s string) any { return strings.TrimPrefix(s, p) }),
		"trimSuffix": with(func(p, s string) any { return strings.TrimSuffix(s, p) }),
		"trimAll":    with(func(p, s string) any { return strings.Trim(s, p) }),
		"hasPrefix":  with(func(p, s string) any { return strings.HasPrefix(s, p) }),
		"hasSuffix":  with(func(p, s string) any { return strings.HasSuffix(s, p) }),
		"contains":   with(func(p, s string) any { return strings.Contains(s, p) }),
		"splitList":  with(func(p, s string) any { return strings.Split(s, p) }),
		"replace": {3, 3, func(_ *clock, a []any) (any, error) {
			out := strings.ReplaceAll(text(a[2]), text(a[0]), text(a[1]))
			return bounded(out)
		}},
		"join": {2, 2, func(_ *clock, a []any) (any, error) {
			if list, ok := a[1].([]string); ok {
				return bounded(strings.Join(list, text(a[0])))
			}
			return text(a[1]), nil
		}},
		"toJson": {1, 1, func(_ *clock, a []any) (any, error) {
			out, err := json.Marshal(a[0])
			return string(out), err
		}},
		"print": {0, -1, func(_ *clock, a []any) (any, error) { return bounded(fmt.Sprint(a...)) }},
		"printf": {1, -1, func(_ *clock, a []any) (any, error) {
			// A width could ask for any amount of memory.
			if strings.ContainsAny(text(a[0]), "*") {
				return nil, errors.New("a width that is an argument is not allowed")
			}
			return bounded(fmt.Sprintf(text(a[0]), a[1:]...))
		}},
	}
}

func bounded(s string) (any, error) {
	if len(s) > maxText {
		return nil, errTooLong
	}
	return s, nil
}

// jsonInner is a text as it stands between the quotes of JSON.
func jsonInner(s string) string {
	out, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(out[1 : len(out)-1])
}

func numbers() map[string]function {
	return map[string]function{
		"int":     {1, 1, func(_ *clock, a []any) (any, error) { return whole(a[0]) }},
		"int64":   {1, 1, func(_ *clock, a []any) (any, error) { return whole(a[0]) }},
		"atoi":    {1, 1, func(_ *clock, a []any) (any, error) { return whole(a[0]) }},
		"float64": {1, 1, func(_ *clock, a []any) (any, error) { return strconv.ParseFloat(text(a[0]), 64) }},
		"add":     fold(func(x, y int) (int, error) { return x + y, nil }),
		"sub":     fold(func(x, y int) (int, error) { return x - y, nil }),
		"mul":     fold(func(x, y int) (int, error) { return x * y, nil }),
		"div":     fold(func(x, y int) (int, error) { return divide(x, y, false) }),
		"mod":     fold(func(x, y int) (int, error) { return divide(x, y, true) }),
		"randInt": {2, 2, func(_ *clock, a []any) (any, error) {
			from, err := whole(a[0])
			if err != nil {
				return nil, err
			}
			to, err := whole(a[1])
			if err != nil || to <= from {
				return nil, fmt.Errorf("%v is not above %v", a[1], a[0])
			}
			return from + rand.IntN(to-from), nil
		}},
	}
}

func divide(x, y int, rest bool) (int, error) {
	if y == 0 {
		return 0, errors.New("division by zero")
	}
	if rest {
		return x % y, nil
	}
	return x / y, nil
}

func fold(f func(x, y int) (int, error)) function {
	return function{2, -1, func(_ *clock, a []any) (any, error) {
		out, err := whole(a[0])
		for _, v := range a[1:] {
			var y int
			if err == nil {
				y, err = whole(v)
			}
			if err == nil {
				out, err = f(out, y)
			}
		}
		return out, err
	}}
}

func whole(v any) (int, error) {
	switch v := v.(type) {
	case int:
		return v, nil
	case float64:
		return int(v), nil
	case nil:
		return 0, nil
	}
	return strconv.Atoi(strings.TrimSpace(text(v)))
}

func times() map[string]function {
	return map[string]function{
		"now": {0, 0, func(c *clock, _ []any) (any, error) { return c.now, nil }},
		"date": {2, 2, func(_ *clock, a []any) (any, error) {
			t, ok := a[1].(time.Time)
			if !ok {
				return nil, fmt.Errorf("a %T is no time", a[1])
			}
			return t.Format(text(a[0])), nil
		}},
		"dateModify": {2, 2, func(_ *clock, a []any) (any, error) {
			t, ok := a[1].(time.Time)
			d, err := time.ParseDuration(text(a[0]))
			if !ok || err != nil {
				return nil, fmt.Errorf("%v is no duration before a time", a[0])
			}
			return t.Add(d), nil
		}},
		"unixEpoch": {1, 1, func(_ *clock, a []any) (any, error) {
			t, ok := a[0].(time.Time)
			if !ok {
				return nil, fmt.Errorf("a %T is no time", a[0])
			}
			return strconv.FormatInt(t.Unix(), 10), nil
		}},
		"duration": {1, 1, func(_ *clock, a []any) (any, error) {
			seconds, err := whole(a[0])
			return (time.Duration(seconds) * time.Second).String(), err
		}},
	}
}
