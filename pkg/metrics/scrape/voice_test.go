package scrape

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestVoice: the log has when a source fails, why, and when it is well again, not each
// scrape, and not each turn of one that comes and goes.
func TestVoice(t *testing.T) {
	t.Parallel()
	refused, denied := errors.New("connection refused"), errors.New("status 401")
	const failing, well = "WARN connection refused", "INFO"
	type look struct {
		second int
		err    error
	}
	for name, tt := range map[string]struct {
		looks []look
		want  []string
	}{
		"always well":             {looks: []look{{0, nil}, {15, nil}}},
		"dead":                    {looks: []look{{0, refused}, {15, refused}, {900, refused}}, want: []string{failing}},
		"dead and well again":     {looks: []look{{0, nil}, {15, refused}, {30, refused}, {90, nil}, {105, nil}}, want: []string{failing, well}},
		"away for a moment":       {looks: []look{{0, refused}, {15, nil}, {30, nil}, {75, nil}}, want: []string{failing, well}},
		"comes and goes":          {looks: []look{{0, refused}, {15, nil}, {30, refused}, {45, nil}, {60, refused}, {75, refused}}, want: []string{failing}},
		"for another reason":      {looks: []look{{0, refused}, {15, denied}, {900, denied}, {915, denied}}, want: []string{failing, "WARN status 401"}},
		"well, and fails at once": {looks: []look{{0, nil}, {1, refused}}, want: []string{failing}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			v := &voice{log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: brief}))}
			for _, l := range tt.looks {
				v.heard(l.err, time.Unix(int64(l.second), 0))
			}
			var got []string
			for line := range strings.Lines(log.String()) {
				got = append(got, strings.NewReplacer("level=", "", "error=", "", "\"", "", "\n", "").Replace(line))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// brief leaves level and error of a line.
func brief(_ []string, a slog.Attr) slog.Attr {
	if a.Key != slog.LevelKey && a.Key != "error" {
		return slog.Attr{}
	}
	return a
}
