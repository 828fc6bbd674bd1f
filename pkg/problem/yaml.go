package problem

import (
	"bytes"
	"cmp"
	"regexp"
	"strconv"
	"strings"
)

// What yaml's parser reports, unlike its scanner, is in lines that are counted from 0.
var (
	yamlLine   = regexp.MustCompile(`^line (\d+): (.*)$`)
	yamlAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`) // without a line
	yamlParser = regexp.MustCompile(`^(did not find expected (node content|key|'-' indicator|',' or|<)|found (duplicate|incompatible|undefined) )`)
)

// YAML reads the error of go.yaml.in/yaml for a text: the line, from 1 and 0 where it
// is not known, and the reason, with what to do about some that people often meet.
func YAML(text []byte, err error) (line int, reason string) {
	reason = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(reason); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits; an absurd number of them leaves the line unknown
		reason = m[2]
		if yamlParser.MatchString(reason) {
			// The end of the text is behind the last line.
			line = min(line+1, bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))+1)
		}
	}
	if m := yamlAnchor.FindStringSubmatch(reason); m != nil {
		before, _, _ := strings.Cut(string(text), "*"+m[1])
		return strings.Count(before, "\n") + 1, reason + inQuotes
	}
	switch {
	case strings.HasPrefix(reason, "found a tab character"):
		// The line is that of the value before it.
		return cmp.Or(indentedByTab(text, line, len(text)), line), reason + withSpaces
	case reason == "found character that cannot start any token":
		if at := indentedByTab(text, line, 1); at > 0 {
			return at, "found a tab character that violates indentation" + withSpaces
		}
		return line, reason + " (a value that begins with @, % or ` is written in quotes)"
	case reason == "did not find expected alphabetic or numeric character":
		return line, reason + inQuotes
	}
	return line, reason + yamlHints[reason]
}

// yamlHints are what is usually wrong, by the parser's words.
var yamlHints = map[string]string{
	"mapping values are not allowed in this context": ` (keys of one mapping begin in the same column; a value that has ": " in it is written in quotes)`,
	"did not find expected key":                      " (keys of one mapping, and entries of one list, begin in the same column)",
	"did not find expected '-' indicator":            " (entries of one list begin in the same column)",
	"did not find expected ',' or '}'":               " (a { is not closed, or a comma is missing)",
	"did not find expected ',' or ']'":               " (a [ is not closed, or a comma is missing)",
	"did not find expected node content":             " (a bracket is not closed, or a value that begins with : is not in quotes)",
	"could not find expected ':'":                    " (behind a key comes a colon and a space)",
	"found unexpected end of stream":                 " (a quote is not closed)",
}

const (
	withSpaces = " (indent with spaces)"
	inQuotes   = " (a value that begins with * or & is written in quotes)"
)

// indentedByTab finds the first of some lines from one on that is indented by a tab;
// 0: none is.
func indentedByTab(text []byte, from, lines int) int {
	from = max(from, 1)
	n := 0
	for line := range bytes.Lines(text) {
		if n++; n < from {
			continue
		}
		if n >= from+lines {
			break
		}
		indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
		if bytes.IndexByte(indent, '\t') >= 0 {
			return n
		}
	}
	return 0
}
