package redisproto

import (
	"strings"
	"testing"
)

func TestAppendPatterns(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"sort":                                  "",
		"sort a":                                "",
		"sort a by w_*":                         "w_*",
		"SORT a BY w_* GET # get v_*->f ALPHA":  "w_* v_*->f",
		"sort a by nosort get #":                "",
		"sort a get get*":                       "get*",
		"sort a limit 0 1 desc store d get v_*": "v_*",
		"sort a limit 0 get get v_*":            "", // a limit that is none
		"sort a limit 0":                        "",
		"sort a get a* foo get v_*":             "a*", // the server stops there, too
		"sort a get a* by":                      "a*",
		"sort a store by get v_*":               "v_*",
		"sort_ro a asc by *":                    "*",
	} {
		var c Command
		b := []byte(in + "\r\n")
		lim := DefaultLimits()
		if _, err := c.Parse(b, &lim); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, i := range AppendPatterns(&c, b, nil) {
			got = append(got, string(c.Arg(b, i)))
		}
		if g := strings.Join(got, " "); g != want {
			t.Errorf("%s: got %q, want %q", in, g, want)
		}
	}
	for name, want := range map[string]bool{"sort": true, "SORT_RO": true, "get": false} {
		if got := Lookup([]byte(name)).SortsByPattern(); got != want {
			t.Errorf("%s sorts by patterns: %v", name, got)
		}
	}
}
