package mysql

import (
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// headLen is what stands before a packet's payload, in bytes.
const headLen = 4

// errEmpty is a packet that is no command.
var errEmpty = errors.New("a command without content")

// glance is what is to become of a command.
type glance uint8

const (
	passOn glance = iota
	later         // more of it is needed, or what went before it has to be answered
	ours          // the proxy answers it
)

// look looks at the beginning of a command.
func (s *session) look(b []byte) glance {
	if s.Is(isHeld) {
		return later
	}
	if s.Is(database.Leaving|isResetting) && s.tracker.Outstanding() > 0 {
		s.hold()
		return later
	}
	if len(b) < headLen {
		return later
	}
	size := payloadLen(b)
	if size == 0 {
		return ours // and refused
	}
	if len(b) == headLen {
		return later
	}
	if !s.isOurs(mysqlproto.Command(b[headLen]), b, size) {
		return passOn
	}
	if len(b) < headLen+size && size <= mysqlproto.MaxHandshake {
		return later
	}
	if !s.tracker.AtCommand() {
		s.hold()
		return later
	}
	return ours
}

func payloadLen(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// isOurs reports whether a command is not simply passed on.
func (s *session) isOurs(c mysqlproto.Command, b []byte, size int) bool {
	switch c {
	case mysqlproto.ComQuery:
		text := s.agreed.queryText(b[headLen:min(len(b), headLen+size)])
		if size > 2*killText || !mayBeKill(text) {
			return false
		}
		if len(b) < headLen+size {
			return true // to be seen when it is here
		}
		k, ok := parseKill(text)
		if ok {
			_, ok = s.elsewhere(k)
		}
		return ok
	case mysqlproto.ComProcessKill:
		k, ok := processKill(b[headLen:])
		if ok {
			_, ok = s.elsewhere(k)
		}
		return ok
	case mysqlproto.ComChangeUser:
		return true
	case mysqlproto.ComInitDB:
		if s.alias == "" || size != 1+len(s.alias) {
			return false
		}
		return len(b) < headLen+size || string(b[headLen+1:headLen+size]) == s.alias
	}
	return c.Replication()
}

// processKill reads COM_PROCESS_KILL, which is KILL before there was KILL.
func processKill(payload []byte) (killStatement, bool) {
	if len(payload) < 5 {
		return killStatement{}, false
	}
	return killStatement{"KILL", uint32(payload[1]) | uint32(payload[2])<<8 | uint32(payload[3])<<16 | uint32(payload[4])<<24}, true
}

// queryText is the text of COM_QUERY, as far as it is there; nothing if it has
// attributes.
func (a *agreement) queryText(payload []byte) []byte {
	if !a.down.Has(mysqlproto.QueryAttributes) {
		return payload[1:]
	}
	if len(payload) < 3 || payload[1] != 0 {
		return nil
	}
	return payload[3:]
}

// serve answers a command that is at the beginning of b, and says how long it is.
func (s *session) serve(b []byte) int {
	size := payloadLen(b)
	if size == 0 || size > mysqlproto.MaxHandshake {
		s.clientBroke(errEmpty)
		return len(b)
	}
	payload, seq, n := b[headLen:headLen+size], b[3]+1, headLen+size
	s.Part.Stats.Received.Add(uint64(n))
	switch c := mysqlproto.Command(payload[0]); c {
	case mysqlproto.ComQuery, mysqlproto.ComProcessKill:
		k, ok := processKill(payload)
		if c == mysqlproto.ComQuery {
			k, ok = parseKill(s.agreed.queryText(payload))
		}
		t, found := s.elsewhere(k)
		if !ok || !found { // it is gone just now
			s.answerError(seq, 1094, mysqlproto.StateGeneral, "Unknown thread id")
			return n
		}
		s.killOther(k, t, seq)
	case mysqlproto.ComChangeUser:
		s.changeUser(payload, seq)
	case mysqlproto.ComInitDB:
		s.selectAlias(b[3])
	default:
		s.answerError(seq, mysqlproto.ErrnoNotSupported, "42000", "dragoman: "+c.String()+" is not passed on: replicate from the server itself")
	}
	return n
}

// selectAlias selects the environment's database for an app that knows it by the name
// which it gave at its login. Drivers do that to put a connection back into its state.
func (s *session) selectAlias(seq byte) {
	packet := mysqlproto.AppendPacket(nil, seq, append([]byte{byte(mysqlproto.ComInitDB)}, s.Part.Conf.Login.Database...))
	for at := 0; at < len(packet); {
		n, step := s.fromDown.Next(packet[at:], false)
		at += n
		s.clientStep(step)
	}
	s.Up.Write(packet)
}

func (s *session) answerError(seq byte, errno uint16, state, message string) {
	s.failed(errno, state)
	s.Down.Write(errorPacket(seq, errno, state, message))
}
