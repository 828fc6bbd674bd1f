package postgres

import (
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// negotiate tells the client which version it gets where the proxy itself speaks to
// it, and that it gets none of the options. Versions 3.0 and 3.2 differ in nothing
// but the length of the key for requests to cancel (section 54.1), so that it does
// not matter which one the server speaks.
func (s *session) negotiate(dst []byte) []byte {
	if s.start.negotiated {
		return dst
	}
	s.start.negotiated = true
	m := &s.start.message
	plain, unknown := withoutOptions(*m)
	if plain.Version = pgproto.Version30; m.Version >= pgproto.Version32 {
		plain.Version = pgproto.Version32
	}
	if m.Version != plain.Version || len(unknown) > 0 {
		dst = pgproto.AppendNegotiateProtocolVersion(dst, plain.Version, unknown)
	}
	*m = plain
	return dst
}

// isOption reports whether a setting is an option of the protocol.
func isOption(p pgproto.Param) bool { return strings.HasPrefix(p.Name, "_pq_.") }

// withoutOptions is a start-up without its options, and their names.
func withoutOptions(m pgproto.Startup) (plain pgproto.Startup, options []string) {
	kept := m.Params[:0:0]
	for _, p := range m.Params {
		if isOption(p) {
			options = append(options, p.Name)
			continue
		}
		kept = append(kept, p)
	}
	m.Params = kept
	return m, options
}

// versionTold takes a server's NegotiateProtocolVersion. A client hears that once:
// who goes on at another server is bound to it.
func (s *session) versionTold(payload, whole []byte) {
	if s.start.negotiated || s.errand != nil {
		return
	}
	newest, unknown, err := pgproto.ParseNegotiateProtocolVersion(payload)
	if err != nil {
		s.loginFailed("dragoman: what the server says of versions cannot be read", err)
		return
	}
	s.start.negotiated = true
	m := &s.start.message
	m.Version = min(m.Version, newest)
	m.Params = slices.DeleteFunc(slices.Clone(m.Params), func(p pgproto.Param) bool {
		return isOption(p) && slices.Contains(unknown, p.Name)
	})
	s.Down.Write(whole)
}
