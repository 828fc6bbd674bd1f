package postgres

import (
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// Settings that servers report and sessions may change, in the names that
// ParameterStatus has. A connection is given a session's before the session gets
// it. The first ones have a part in how a statement's text is understood.
const (
	dateStyle = iota
	intervalStyle
	timeZone
	standardStrings
	clientEncoding
	searchPath // since PostgreSQL 18
	meaningful // number of those above

	applicationName = iota - 1
	readOnlyDefault // since PostgreSQL 14
	scramIterations // since PostgreSQL 16
	trackedSettings
)

func settingName(i int) string {
	return [...]string{
		"DateStyle", "IntervalStyle", "TimeZone", "standard_conforming_strings", "client_encoding", "search_path",
		"application_name", "default_transaction_read_only", "scram_iterations",
	}[i]
}

// settingOf returns the index of a setting, negative if it is not tracked.
func settingOf(name string) int {
	for i := range trackedSettings {
		if strings.EqualFold(settingName(i), name) {
			return i
		}
	}
	return -1
}

// settings are the values of what is tracked. They are not changed once they are
// shared: with makes others.
type settings struct {
	values [trackedSettings]string
	known  [trackedSettings]bool
}

// with returns settings of which one is another.
func (s *settings) with(i int, value string) *settings {
	if s.known[i] && s.values[i] == value {
		return s
	}
	other := *s
	other.set(i, value)
	return &other
}

// set changes settings that are not shared yet.
func (s *settings) set(i int, value string) { s.values[i], s.known[i] = value, true }

// maxSettings is how many different settings are remembered.
const maxSettings = 64

// shared returns the one copy of settings with these values, so that to compare
// two of them is nearly always to compare pointers.
func (p *pool) shared(s *settings) *settings {
	if known := p.settings[*s]; known != nil {
		return known
	}
	if len(p.settings) >= maxSettings {
		clear(p.settings) // others of the same values are compared in full
	}
	p.settings[*s] = s
	return s
}

// appendMeaning appends what a statement's text depends on.
func (s *settings) appendMeaning(dst []byte) []byte {
	for _, v := range s.values[:meaningful] {
		dst = append(append(dst, v...), 0)
	}
	return dst
}

// appendChange appends the statements that make a server's settings those of a
// session, nothing if they are. What either does not know is left alone.
func (s *settings) appendChange(dst []byte, server *settings) []byte {
	for i := range trackedSettings {
		if !s.known[i] || !server.known[i] || s.values[i] == server.values[i] {
			continue
		}
		if i == searchPath { // a list of names: SET would take it for one name
			dst = append(dst, "SELECT pg_catalog.set_config('search_path', "...)
			dst = append(appendLiteral(dst, s.values[i]), ", false);"...)
			continue
		}
		dst = append(append(append(dst, "SET "...), settingName(i)...), " TO "...)
		dst = append(appendLiteral(dst, s.values[i]), ';')
	}
	return dst
}

// appendLiteral appends a string in the form that means the same whatever
// standard_conforming_strings is.
func appendLiteral(dst []byte, value string) []byte {
	escaped := strings.Contains(value, `\`)
	if escaped {
		dst = append(dst, " E"...)
	}
	dst = append(dst, '\'')
	for i := range len(value) {
		c := value[i]
		if c == '\'' || c == '\\' {
			dst = append(dst, c)
		}
		dst = append(dst, c)
	}
	return append(dst, '\'')
}

func isApplicationName(p pgproto.Param) bool { return p.Name == settingName(applicationName) }

// groupKey tells sessions apart that can't share connections: by the database
// and by the settings of their start-up, to which RESET goes back.
func groupKey(m *pgproto.Startup) string {
	var b strings.Builder
	b.WriteString(m.Database())
	for _, p := range m.Params {
		switch p.Name {
		case "user", "database", "replication", settingName(applicationName):
			continue
		}
		b.WriteString("\x00" + p.Name + "\x00" + p.Value)
	}
	return b.String()
}
