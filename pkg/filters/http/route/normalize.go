package route

import (
	"errors"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// ErrPath is a path that is not served: an escape that is none, or one that the
// configuration refuses.
var ErrPath = errors.New("path is malformed")

// Normalize makes paths that mean the same the same, RFC 3986 section 6.2.2, as
// far as the configuration wants it. redirect says that the client is to be
// sent there.
func Normalize(o *resource.HTTPPath, path string) (out string, redirect bool, err error) {
	out = path
	if o.Escaped != resource.SlashesKept && strings.IndexByte(out, '%') >= 0 {
		plain := unescapeSlashes(out)
		switch {
		case plain == out:
		case o.Escaped == resource.SlashesRefused:
			return "", false, ErrPath
		case o.Escaped == resource.SlashesRedirected:
			out, redirect = plain, true
		default:
			out = plain
		}
	}
	if o.Normalize {
		if out, err = canonical(out); err != nil {
			return "", false, err
		}
	}
	if o.MergeSlashes {
		out = mergeSlashes(out)
	}
	return out, redirect, nil
}

// unescapeSlashes turns %2F and %5C into slashes.
func unescapeSlashes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			switch strings.ToLower(s[i+1 : i+3]) {
			case "2f":
				b.WriteByte('/')
				i += 2
				continue
			case "5c":
				b.WriteByte('\\')
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// canonical resolves dot segments and escapes of unreserved characters, and
// turns \ into / as browsers do. A path without any is returned as it is.
func canonical(s string) (string, error) {
	if clean(s) {
		return s, nil
	}
	s, err := unescape(strings.ReplaceAll(s, `\`, "/"))
	if err != nil {
		return "", err
	}
	var out []string
	segments := strings.Split(strings.TrimPrefix(s, "/"), "/")
	for i, seg := range segments {
		last := i == len(segments)-1
		switch seg {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) == 0 {
				return "", ErrPath // above the root
			}
			out = out[:len(out)-1]
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, seg)
		}
	}
	return "/" + strings.Join(out, "/"), nil
}

// clean says that nothing in a path needs a second look.
func clean(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case '%', '\\':
			return false
		case '.':
			if i > 0 && (s[i-1] == '/' || s[i-1] == '.') {
				return false
			}
		}
	}
	return true
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) || hex(s[i+1]) < 0 || hex(s[i+2]) < 0 {
			return "", ErrPath
		}
		c := byte(hex(s[i+1])<<4 | hex(s[i+2]))
		if c == 0 {
			return "", ErrPath
		}
		if unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(s[i : i+3]))
		}
		i += 2
	}
	return b.String(), nil
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func mergeSlashes(s string) string {
	if !strings.Contains(s, "//") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if s[i] != '/' || i == 0 || s[i-1] != '/' {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
