package influx

import "github.com/dragoman-mesh/dragoman/pkg/metrics/push"

// ends finds the ends of lines. A line feed between the quotes of a field is none:
// what follows it would be taken for a line of its own.
func ends() push.Ends {
	var e ending
	return e.find
}

// ending is where a line is. Quotes mean something only behind the = of a field.
type ending struct {
	begun   bool // something but white space has come
	comment bool
	fields  bool // the measurement and its tags are over
	value   bool // a field's = has come, and nothing behind it
	quoted  bool
	escaped bool
}

func (e *ending) find(b []byte) int {
	for i, c := range b {
		switch {
		case e.escaped:
			e.escaped, e.value = false, false
		case c == '\n' && !e.quoted:
			*e = ending{}
			return i
		case e.comment:
		case !e.begun:
			e.begun, e.comment = c != ' ' && c != '\t' && c != '\r', c == '#'
		case c == '\\':
			e.escaped = true
		case e.quoted:
			e.quoted = c != '"'
		case c == ' ':
			e.fields, e.value = true, false
		case c == '"' && e.value:
			e.quoted, e.value = true, false
		default:
			e.value = e.fields && c == '='
		}
	}
	return -1
}
