package redisproto

import (
	"bytes"
	"strconv"
)

// SortsByPattern reports whether the command makes further keys from patterns
// among its arguments, which AppendPatterns finds: SORT and SORT_RO.
func (s *Spec) SortsByPattern() bool { return s.Name == "sort" || s.Name == "sort_ro" }

// AppendPatterns appends the indexes of the arguments of SORT or SORT_RO that are
// patterns of keys; the argument before each is BY or GET. What has no asterisk
// is none: "BY nosort" reads no key, "GET #" is the element itself. It stops at
// what the server will call an error. b is what c was parsed from.
func AppendPatterns(c *Command, b []byte, dst []int) []int {
	argc := len(c.Args)
	for i := 2; i < argc; i++ {
		arg := c.Arg(b, i)
		switch {
		case equalFold("asc", arg), equalFold("desc", arg), equalFold("alpha", arg):
		case equalFold("limit", arg):
			if i += 2; i >= argc || !isInteger(c.Arg(b, i-1)) || !isInteger(c.Arg(b, i)) {
				return dst
			}
		case equalFold("store", arg):
			i++
		case (equalFold("by", arg) || equalFold("get", arg)) && i+1 < argc:
			if i++; bytes.IndexByte(c.Arg(b, i), '*') >= 0 {
				dst = append(dst, i)
			}
		default:
			return dst
		}
	}
	return dst
}

func isInteger(arg []byte) bool {
	_, err := strconv.ParseInt(string(arg), 10, 64)
	return err == nil
}

// SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA]
func sortROKeys(c *Command, _ []byte, dst []int) ([]int, error) {
	if len(c.Args) < 2 {
		return dst, ErrKeys
	}
	return append(dst, 1), nil
}
