package pages

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCleanMappings(t *testing.T) {
	t.Parallel()
	const smaps = `00400000-00d84000 r-xp 00000000 08:01 42 /bin/proxy
Rss:                7888 kB
Anonymous:             0 kB
00d84000-0157c000 r--p 00984000 08:01 42 /bin/proxy
Anonymous:             8 kB
0157c000-0161f000 rw-p 0117c000 08:01 42 /bin/proxy
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 08:01 43 /lib/libc.so
Anonymous:             0 kB
7f0000001000-7f0000002000 r--p 00000000 00:00 0
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0xd84000}}
	got := cleanMappings(strings.NewReader(smaps), "/bin/proxy")
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(mapping{})); diff != "" {
		t.Error(diff)
	}
}

// TestReleaseStartup goes on afterwards.
func TestReleaseStartup(t *testing.T) {
	t.Parallel()
	if got := Resident(); got < 1<<20 || got > 1<<30 {
		t.Errorf("%d bytes of the test's binary are resident", got)
	}
	Release(slog.New(slog.DiscardHandler))
	if got := strings.Repeat("x", 3); got != "xxx" {
		t.Errorf("got %q", got)
	}
}
