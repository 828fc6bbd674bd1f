package resource

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Template is a path with {variables}, as a rewrite.
type Template struct {
	Parts []TemplatePart
}

// TemplatePart is literal text, or the value of a variable.
type TemplatePart struct {
	Literal  string
	Variable string // "": a literal
}

// Bounds of Envoy's path templates.
const (
	maxTemplateVariables = 5
	maxTemplateName      = 16
)

// Errors of path templates.
var (
	errTemplateStart = errors.New("must begin with /")
	errTemplateTail  = errors.New("has something after **, which takes all the rest")
	errTemplateBrace = errors.New("has braces that do not fit each other")
)

// segmentClass is what one segment is made of, RFC 3986 section 3.3.
const segmentClass = `[a-zA-Z0-9\-._~%!$&'()+,;=:@]`

// parsePathTemplate turns "/v2/{id}/*/{rest=**}" into a regular expression with
// named groups.
func parsePathTemplate(s string) (*regexp.Regexp, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, errTemplateStart
	}
	var out strings.Builder
	var names []string
	out.WriteByte('^')
	tail := false
	for _, segment := range splitTemplate(s[1:]) {
		if tail {
			return nil, errTemplateTail
		}
		out.WriteByte('/')
		if err := templateSegment(segment, &out, &names, &tail); err != nil {
			return nil, err
		}
	}
	out.WriteByte('$')
	return regexp.Compile(out.String())
}

// splitTemplate splits at slashes outside of braces.
func splitTemplate(s string) []string {
	var out []string
	depth, start := 0, 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '/':
			if depth == 0 {
				out = append(out, s[start:i])
				start = i + 1
			}
		}
	}
	return append(out, s[start:])
}

// templateSegment writes one segment: a glob, a variable with text around it,
// or text.
func templateSegment(s string, out *strings.Builder, names *[]string, tail *bool) error {
	for s != "" {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			return templateText(s, out, tail)
		}
		if open > 0 {
			if err := templateText(s[:open], out, tail); err != nil {
				return err
			}
		}
		end := strings.IndexByte(s, '}')
		if end < open {
			return errTemplateBrace
		}
		name, pattern, given := strings.Cut(s[open+1:end], "=")
		if !given {
			pattern = "*"
		}
		if err := templateVariable(name, pattern, out, names, tail); err != nil {
			return err
		}
		s = s[end+1:]
		if *tail && s != "" {
			return errTemplateTail
		}
	}
	return nil
}

func templateVariable(name, pattern string, out *strings.Builder, names *[]string, tail *bool) error {
	if len(name) == 0 || len(name) > maxTemplateName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" ||
		name[0] >= '0' && name[0] <= '9' {
		return fmt.Errorf("has a variable %q: names have 1 to %d letters, digits and underscores", name, maxTemplateName)
	}
	if slices.Contains(*names, name) {
		return fmt.Errorf("has the variable %q twice", name)
	}
	if *names = append(*names, name); len(*names) > maxTemplateVariables {
		return fmt.Errorf("has more than %d variables", maxTemplateVariables)
	}
	fmt.Fprintf(out, "(?P<%s>", name)
	for i, part := range strings.Split(pattern, "/") {
		if *tail {
			return errTemplateTail
		}
		if i > 0 {
			out.WriteByte('/')
		}
		if err := templateText(part, out, tail); err != nil {
			return err
		}
	}
	out.WriteByte(')')
	return nil
}

func templateText(s string, out *strings.Builder, tail *bool) error {
	switch {
	case s == "**":
		*tail = true
		out.WriteString(`[a-zA-Z0-9\-._~%!$&'()+,;=:@/]*`)
	case s == "*":
		out.WriteString(segmentClass + "+")
	case strings.ContainsAny(s, "*{}"):
		return errTemplateBrace
	default:
		out.WriteString(regexp.QuoteMeta(s))
	}
	return nil
}

// parseRewriteTemplate reads "/new/{id}", whose variables must be in the match.
func parseRewriteTemplate(s string, match *regexp.Regexp) (*Template, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, errTemplateStart
	}
	t := &Template{}
	for s != "" {
		open := strings.IndexByte(s, '{')
		if open < 0 {
			open = len(s)
		}
		if open > 0 {
			if strings.ContainsAny(s[:open], "*}") {
				return nil, errTemplateBrace
			}
			t.Parts = append(t.Parts, TemplatePart{Literal: s[:open]})
		}
		if s = s[open:]; s == "" {
			break
		}
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return nil, errTemplateBrace
		}
		name := s[1:end]
		if match == nil || match.SubexpIndex(name) < 0 {
			return nil, fmt.Errorf("has a variable %q that the match does not have", name)
		}
		t.Parts = append(t.Parts, TemplatePart{Variable: name})
		s = s[end+1:]
	}
	return t, nil
}
