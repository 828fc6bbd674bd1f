package pgproto

import (
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
)

// saslPrep prepares a password for SCRAM as PostgreSQL does (saslprep.c): by
// RFC 4013 where that is possible. A password that is not UTF-8, or has what the
// profile forbids, is taken as its bytes are.
func saslPrep(password string) string {
	if isASCII(password) || !utf8.ValidString(password) {
		return password
	}
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil || prepared == "" {
		return password
	}
	return prepared
}

// isASCII: PostgreSQL leaves such passwords as they are, control characters,
// which the profile forbids, and all.
func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
