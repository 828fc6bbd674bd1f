package parse

import "github.com/dragoman-mesh/dragoman/pkg/logs/record"

// space gives where the white space from i on ends.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// text finds the end of the string at i, after its quote; simple says that it has
// no escapes.
func text(b []byte, i int) (end int, simple, ok bool) {
	if i >= len(b) || b[i] != '"' {
		return 0, false, false
	}
	simple = true
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, simple, true
		case c < 0x20:
			return 0, false, false
		case c == '\\':
			simple = false
			n := escape(b[i+1:])
			if n == 0 {
				return 0, false, false
			}
			i += n
		}
	}
	return 0, false, false
}

// escape gives the length of what follows a backslash; 0: it is no escape.
func escape(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	switch b[0] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 1
	case 'u':
		if len(b) < 5 {
			return 0
		}
		for _, c := range b[1:5] {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
				return 0
			}
		}
		return 5
	}
	return 0
}

// value finds the end of the value at i, as RFC 8259 has it.
func value(b []byte, i, depth int) (end int, kind record.Kind, ok bool) {
	if i >= len(b) || depth == 0 {
		return 0, 0, false
	}
	switch b[i] {
	case '"':
		end, _, ok = text(b, i)
		return end, record.Escaped, ok
	case '{', '[':
		end, ok = composite(b, i, depth)
		return end, record.Composite, ok
	case 't':
		end, ok = word(b, i, "true")
	case 'f':
		end, ok = word(b, i, "false")
	case 'n':
		end, ok = word(b, i, "null")
	default:
		end, ok = number(b, i)
	}
	return end, record.Literal, ok
}

func word(b []byte, i int, w string) (int, bool) {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return 0, false
	}
	return i + len(w), true
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}

func number(b []byte, i int) (int, bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	start := i
	if i = digits(b, i); i == start || b[start] == '0' && i > start+1 {
		return 0, false
	}
	if i < len(b) && b[i] == '.' {
		start = i + 1
		if i = digits(b, start); i == start {
			return 0, false
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		start = i + 1
		if start < len(b) && (b[start] == '+' || b[start] == '-') {
			start++
		}
		if i = digits(b, start); i == start {
			return 0, false
		}
	}
	return i, true
}

// composite finds the end of an object or a list.
func composite(b []byte, i, depth int) (end int, ok bool) {
	isObject, last := b[i] == '{', b[i]+2 // "{}" and "[]" are two apart
	if i = space(b, i+1); i < len(b) && b[i] == last {
		return i + 1, true
	}
	for {
		if isObject {
			if i, _, ok = text(b, i); !ok {
				return 0, false
			}
			if i = space(b, i); i >= len(b) || b[i] != ':' {
				return 0, false
			}
			i = space(b, i+1)
		}
		if i, _, ok = value(b, i, depth-1); !ok {
			return 0, false
		}
		if i = space(b, i); i >= len(b) {
			return 0, false
		}
		if b[i] == last {
			return i + 1, true
		}
		if b[i] != ',' {
			return 0, false
		}
		i = space(b, i+1)
	}
}
