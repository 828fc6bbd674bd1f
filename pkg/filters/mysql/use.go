package mysql

import (
	"bytes"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/database/sqltext"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// nameLimit is the longest name of a database in bytes. Of longer texts none is
// looked at for one.
const nameLimit = 256

// isAlias reports whether the app has another name for the environment's database,
// and this is one: that of its login, or one that the document lists.
func (s *session) isAlias(name string) bool {
	conf := s.Part.Conf
	if conf.Login.Database == "" || name == "" || name == conf.Login.Database {
		return false
	}
	return name == s.alias || slices.Contains(conf.AppDatabases, name)
}

// selectOurs selects the environment's database in the place of what an app calls so.
func (s *session) selectOurs(seq byte) {
	packet := mysqlproto.AppendPacket(nil, seq, append([]byte{byte(mysqlproto.ComInitDB)}, s.Part.Conf.Login.Database...))
	for at := 0; at < len(packet); {
		n, step := s.fromDown.Next(packet[at:], false)
		at += n
		s.clientStep(step, packet[at:])
	}
	s.Up.Write(packet)
}

// parseUse reads USE name, with or without backquotes, and what may stand around it:
// comments and a semicolon. Of several statements none is one.
func parseUse(text []byte) (name string, ok bool) {
	const verb = "use"
	text = withoutLeadingComments(text)
	if len(text) <= len(verb) || !bytes.EqualFold(text[:len(verb)], []byte(verb)) || sqltext.IsWord(text[len(verb)]) {
		return "", false
	}
	text = withoutLeadingComments(text[len(verb):])
	var n int
	if len(text) > 0 && text[0] == '`' {
		n = sqltext.EndOfString(text, 1, '`', false)
		if text[n-1] != '`' {
			return "", false
		}
		name = string(bytes.ReplaceAll(text[1:max(1, n-1)], []byte("``"), []byte("`")))
	} else {
		n = sqltext.EndOfNumber(text, 0)
		name = string(text[:n])
	}
	rest := bytes.TrimLeft(withoutLeadingComments(text[n:]), "; \t\r\n\x00")
	return name, name != "" && len(withoutLeadingComments(rest)) == 0
}
