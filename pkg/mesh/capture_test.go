package mesh

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCapturePorts(t *testing.T) {
	t.Parallel()
	for list, want := range map[string][]CapturePort{
		"6379":             {{6379, 6379}},
		"6379, 5432:15432": {{6379, 6379}, {5432, 15432}},
		"1:65535":          {{1, 65535}},
	} {
		got, err := ParseCapturePorts(list)
		if err != nil {
			t.Errorf("%q: %v", list, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", list, diff)
		}
		var again []string
		for _, p := range got {
			again = append(again, p.String())
		}
		if back, err := ParseCapturePorts(strings.Join(again, ",")); err != nil || !cmp.Equal(got, back) {
			t.Errorf("%q comes back as %v, %v", list, back, err)
		}
	}
	for list, want := range map[string]string{
		"":                             `"" is no port`,
		"redis":                        `"redis" is no port`,
		"0":                            `"0" is no port`,
		"65536":                        `"65536" is no port`,
		"6379:":                        `"" is no port`,
		"1,2,1:3":                      "1 is there twice",
		"80-90":                        `"80-90" is no port`,
		strings.Repeat("1,", 64) + "1": "these are 65, more than 64",
	} {
		if _, err := ParseCapturePorts(list); !errors.Is(err, ErrCapturePorts) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", list, err, want)
		}
	}
}
