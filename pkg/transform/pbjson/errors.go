package pbjson

import (
	"fmt"
	"strconv"
	"strings"
)

// Error says what is wrong with a JSON text, and where.
type Error struct {
	Path   string // of the value, as in "order.items[2].sku"; "": the whole
	Offset int    // of the byte from which on it is wrong
	Reason string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("at byte %d: %s", e.Offset, e.Reason)
	}
	return fmt.Sprintf("%s (at byte %d): %s", e.Path, e.Offset, e.Reason)
}

// under puts the name of a field before the path.
func (e *Error) under(name string) *Error {
	if e.Path != "" && e.Path[0] != '[' {
		name += "."
	}
	e.Path = name + e.Path
	return e
}

func (e *Error) at(i int) *Error {
	if e.Path != "" && e.Path[0] != '[' {
		e.Path = "." + e.Path
	}
	e.Path = "[" + strconv.Itoa(i) + "]" + e.Path
	return e
}

// keyed puts a key of a map before the path.
func (e *Error) keyed(key string) *Error {
	if e.Path != "" && e.Path[0] != '[' {
		e.Path = "." + e.Path
	}
	e.Path = "[" + strconv.Quote(clip(key)) + "]" + e.Path
	return e
}

// clip bounds what a client's text takes of a message.
func clip(s string) string {
	if len(s) > 64 {
		return strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}
