package value

import "unicode/utf8"

// NotUTF8 returns the offset of the first byte that is not UTF-8, -1 for none.
func NotUTF8(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for i, r := range s {
		if r != utf8.RuneError {
			continue
		}
		if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
			return i
		}
	}
	return -1
}
