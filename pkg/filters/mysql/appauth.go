package mysql

import (
	"errors"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// errNoPassword is a password for apps that is there, but empty.
var errNoPassword = errors.New("it is empty")

// judgement is what is thought of an app that wants to come in.
type judgement uint8

const (
	welcome judgement = iota
	anotherMethod
	wrongPassword
	noPassword // is there to compare with
)

// judge looks at an app's answer to our scramble. Where no password is asked for
// any will do, as long as the method is one whose next packet is known.
func (s *session) judge(user, plugin string, auth []byte) judgement {
	// A client that was told of another method than the one that it is set to begins
	// with an empty answer.
	known := plugin == s.agreed.downPlugin || !s.agreed.down.Has(mysqlproto.PluginAuth) ||
		(plugin == mysqlproto.PluginNative || plugin == mysqlproto.PluginCachingSHA2) && len(auth) > 1
	if !known {
		return anotherMethod
	}
	a := s.Part.Conf.AppAuth
	if a == nil {
		return welcome
	}
	if a.Username != "" && a.Username != user {
		return wrongPassword
	}
	if !a.Password.Set() {
		return welcome
	}
	password, err := database.Secret(s.Part.Context.Secrets, a.Password)
	if err == nil && password == "" {
		err = errNoPassword
	}
	if err != nil {
		s.Part.Log.Error("reading the app's password", "error", err)
		return noPassword
	}
	if !mysqlproto.CheckResponse(plugin, password, s.agreed.downScramble[:], auth) {
		return wrongPassword
	}
	return welcome
}

// appendSwitch appends the wish for a method that can be checked, with a new
// scramble.
func (s *session) appendSwitch(dst []byte, seq byte) []byte {
	s.agreed.downScramble = newScramble()
	w := mysqlproto.AuthSwitch{Plugin: s.agreed.downPlugin, Data: append(s.agreed.downScramble[:], 0)}
	return mysqlproto.AppendPacket(dst, seq, w.AppendTo(nil))
}

// wantsWord reports whether a client expects a word of caching_sha2_password before
// the OK: one that has shown a password does.
func wantsWord(plugin string, auth []byte) bool {
	return plugin == mysqlproto.PluginCachingSHA2 && len(auth) > 1
}

func deniedApp(user string) string {
	return "Access denied for user '" + user + "' (dragoman asks for spec.mysql.appAuth)"
}
