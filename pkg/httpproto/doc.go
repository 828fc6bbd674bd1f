// Package httpproto is the codec of HTTP/1.1's message heads and chunks, RFC
// 9112. It takes one reading of each message and refuses what another recipient
// could read in another way: bare CR and LF, folded lines, space before a colon,
// lengths that contradict each other.
//
// It does no I/O. Strings that a parser returns are parts of one string that
// holds the head, and stay valid.
package httpproto
