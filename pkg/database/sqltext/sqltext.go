// Package sqltext has what readers of SQL share, whatever the dialect: where
// strings and comments end, and what a word is made of. Texts may be cut anywhere.
package sqltext

import "bytes"

// EndOfString returns the index behind the quote that closes a string whose
// contents begin at i; the text's length if none does.
func EndOfString(sql []byte, i int, quote byte, backslashes bool) int {
	for ; i < len(sql); i++ {
		switch {
		case sql[i] == '\\' && backslashes:
			i++
		case sql[i] != quote:
		case i+1 < len(sql) && sql[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return len(sql)
}

// EndOfNumber returns the index behind a number, with what a word may go on with.
func EndOfNumber(sql []byte, i int) int {
	for i < len(sql) && (IsWord(sql[i]) || sql[i] == '.') {
		i++
	}
	return i
}

// After returns the index behind the next end, from i on; the text's length if
// there is none.
func After(sql []byte, i int, end string) int {
	if n := bytes.Index(sql[i:], []byte(end)); n >= 0 {
		return i + n + len(end)
	}
	return len(sql)
}

// EndOfLine returns the index behind the line that i is in.
func EndOfLine(sql []byte, i int) int {
	if n := bytes.IndexAny(sql[i:], "\r\n"); n >= 0 {
		return i + n + 1
	}
	return len(sql)
}

// Part appends a blank to what stands before a comment that is left out, if a word
// would else go on behind it.
func Part(out []byte) []byte {
	if len(out) > 0 && IsWord(out[len(out)-1]) {
		return append(out, ' ')
	}
	return out
}

// IsDigit reports whether c is one.
func IsDigit(c byte) bool { return c >= '0' && c <= '9' }

// IsWord reports whether c may be within a name or keyword.
func IsWord(c byte) bool {
	return IsDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= 0x80
}
