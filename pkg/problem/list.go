package problem

import "strings"

// Lines is the text of an error that is several: one line for each.
func Lines[E error](list []E) string {
	lines := make([]string, len(list))
	for i, e := range list {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Each is what an error that is several unwraps to, so that [errors.As] finds each.
func Each[E error](list []E) []error {
	out := make([]error, len(list))
	for i, e := range list {
		out[i] = e
	}
	return out
}
