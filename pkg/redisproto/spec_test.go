package redisproto

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	count, last := 0, ""
	for s := range Commands() {
		count++
		if s.Name <= last {
			t.Errorf("%q comes after %q", s.Name, last)
		}
		last = s.Name
		if Lookup([]byte(s.Name)) != s || Lookup([]byte(strings.ToUpper(s.Name))) != s {
			t.Errorf("Lookup does not find %q", s.Name)
		}
		for _, sub := range s.Sub {
			_, name, _ := strings.Cut(sub.Name, "|")
			if s.Subcommand([]byte(strings.ToUpper(name))) != sub {
				t.Errorf("Subcommand does not find %q", sub.Name)
			}
		}
	}
	if count < 400 {
		t.Errorf("%d commands", count)
	}
	for _, name := range []string{"", "nosuch", "config|get", "GE", "GETT", "G\x45T\x00", "@et", strings.Repeat("x", 1000)} {
		if s := Lookup([]byte(name)); s != nil {
			t.Errorf("Lookup(%q) = %q", name, s.Name)
		}
	}
	if s := Lookup([]byte("config")).Subcommand([]byte("nosuch")); s != nil {
		t.Errorf("Subcommand = %q", s.Name)
	}
}

func TestLookupAllocates(t *testing.T) {
	name := []byte("xReAdGrOuP")
	if n := testing.AllocsPerRun(100, func() { _ = Lookup(name) }); n != 0 {
		t.Errorf("Lookup allocates %v times", n)
	}
}

func TestSpec(t *testing.T) {
	t.Parallel()
	get := Lookup([]byte("Get"))
	if !get.Has(ReadOnly) || get.Has(Write|Blocking) || get.Since != "1.0.0" || get.Group != "string" {
		t.Errorf("GET = %+v", get)
	}
	if !get.ArityOK(2) || get.ArityOK(1) || get.ArityOK(3) {
		t.Error("GET takes other than one argument")
	}
	if mget := Lookup([]byte("mget")); mget.ArityOK(1) || !mget.ArityOK(2) || !mget.ArityOK(100) || mget.RequestPolicy != "multi_shard" {
		t.Errorf("MGET = %+v", mget)
	}
	for name, want := range map[string]int{
		"get": 1, "set": 1, "mget": 0, "bitop": 0, "xread": 0, "sort": 0, "sort_ro": 0, "ping": 0, "eval": 0, "publish": 0,
		"json.mget": 0, "json.set": 1, "xgroup": 0, "hset": 1, "spublish": 0, "georadius": 0, "hgetex": 1, "vadd": 1,
	} {
		if got := Lookup([]byte(name)).FirstKeyIndex(); got != want {
			t.Errorf("FirstKeyIndex of %q = %d, want %d", name, got, want)
		}
	}
	if got := Lookup([]byte("object")).Subcommand([]byte("encoding")).FirstKeyIndex(); got != 2 {
		t.Errorf("FirstKeyIndex of OBJECT ENCODING = %d, want 2", got)
	}
}

// keysOf returns the keys that the table finds in a request.
func keysOf(args []string) ([]string, error) {
	lim := DefaultLimits()
	frame := AppendCommand(nil, args...)
	var c Command
	if _, err := c.Parse(frame, &lim); err != nil {
		return nil, err
	}
	spec := Lookup(c.Arg(frame, 0))
	if spec == nil {
		return nil, errors.New("unknown command")
	}
	indexes, err := spec.AppendKeys(&c, frame, nil)
	var keys []string
	for _, i := range indexes {
		keys = append(keys, args[i])
	}
	return keys, err
}

// TestAppendKeys has the commands that the server in server_test.go lacks, or
// answers otherwise.
func TestAppendKeys(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, want string
		err      error
	}{
		{"ping", "", nil},
		{"spublish ch m", "", nil},
		{"eval s 0 a", "", nil},
		{"eval s x a", "", ErrKeys},
		{"eval s 3 a", "", ErrKeys},
		{"eval s -1 a", "", ErrKeys},
		{"eval s 99999999999999999999 a", "", ErrKeys},
		{"eval s", "", ErrKeys},
		{"xread streams a", "", ErrKeys},
		{"xread count streams streams a 0", "a", nil},
		{"xreadgroup group streams c streams a b > >", "a b", nil},
		{"migrate h 1  0 9 auth keys keys a b", "a b", nil},
		{"object encoding a", "a", nil},
		{"object help", "", nil},
		{"object nosuch a", "", nil},
		{"memory usage a", "a", nil},
		{"sort a by x get y limit 1 store store b", "a b", nil},
		{"sort a get store store b", "a b", nil},
		{"json.mget a b c $", "a b c", nil},
		{"json.mset a $ 1 b $ 2", "a b", nil},
		{"cms.merge d 2 a b weights 1 2", "d a b", nil},
		{"cms.merge d 3 a b", "", ErrKeys},
		{"ts.madd a 1 1 b 2 2", "a b", nil},
		{"tdigest.merge d 2 a b", "d a b", nil},
		{"msetex 2 a 1 b 2 ex 9", "a b", nil},
		{"vsim a ele x", "a", nil},
		{"ft.search idx q", "", nil},
	}
	for _, tt := range tests {
		got, err := keysOf(strings.Split(tt.in, " "))
		if !errors.Is(err, tt.err) {
			t.Errorf("%q: %v, want %v", tt.in, err, tt.err)
		}
		if diff := cmp.Diff(strings.Fields(tt.want), got, cmp.Transformer("join", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.in, diff)
		}
	}
}
