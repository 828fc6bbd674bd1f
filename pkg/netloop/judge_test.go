package netloop

import (
	"slices"
	"testing"
	"time"
)

// TestJudge: how many loops take connections, second by second.
func TestJudge(t *testing.T) {
	t.Parallel()
	const s = time.Second
	type seconds struct {
		n    int
		busy float64 // of each active loop
		cpu  float64 // that each active loop got
	}
	tests := map[string]struct {
		most int
		load []seconds
		want int
	}{
		"idle":                                     {4, []seconds{{100, 0, 0}}, 1},
		"a short peak":                             {4, []seconds{{2, 1, 1}, {1, 0.5, 0.5}, {2, 1, 1}}, 1},
		"saturated":                                {4, []seconds{{3, 1, 1}}, 2},
		"saturated for long":                       {4, []seconds{{60, 1, 1}}, 4},
		"no more loops than there are":             {2, []seconds{{60, 1, 1}}, 2},
		"busy, but the CPU is somebody else's":     {4, []seconds{{60, 1, 0.6}}, 1},
		"relaxed, not for long":                    {2, []seconds{{3, 1, 1}, {29, 0.2, 0.2}}, 2},
		"relaxed":                                  {2, []seconds{{3, 1, 1}, {30, 0.2, 0.2}}, 1},
		"one would be too few":                     {2, []seconds{{3, 1, 1}, {300, 0.4, 0.4}}, 2},
		"down to one, and never to none":           {4, []seconds{{60, 1, 1}, {300, 0, 0}}, 1},
		"a second peak brings the second one back": {2, []seconds{{3, 1, 1}, {30, 0, 0}, {3, 1, 1}}, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := judge{most: tt.most}
			active := 1
			for _, load := range tt.load {
				for range load.n {
					busy := slices.Repeat([]time.Duration{time.Duration(load.busy * float64(s))}, active)
					active = j.next(busy, time.Duration(load.cpu*float64(active)*float64(s)), s)
				}
			}
			if active != tt.want {
				t.Errorf("%d loops, want %d", active, tt.want)
			}
		})
	}
}
