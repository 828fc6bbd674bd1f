package exit_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

func TestCode(t *testing.T) {
	t.Parallel()
	plain := errors.New("plain")
	for name, c := range map[string]struct {
		err  error
		want int
	}{
		"no error":          {nil, 0},
		"an error":          {plain, 70},
		"usage":             {exit.Usage(plain), 64},
		"temporary":         {exit.Temporary(plain), 75},
		"wrapped":           {fmt.Errorf("starting: %w", exit.Temporary(plain)), 75},
		"the outermost":     {exit.Usage(exit.Temporary(plain)), 64},
		"one among several": {errors.Join(plain, exit.Usage(plain)), 64},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := exit.Code(c.err); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if c.err != nil && !errors.Is(c.err, plain) {
				t.Error("the cause is lost")
			}
		})
	}
}
