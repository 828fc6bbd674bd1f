// Command database compares the proxy with its peers in front of PostgreSQL and
// MariaDB on this machine: see README.md.
package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// options of a run.
type options struct {
	gauge.Options
	runTime   time.Duration
	copyBytes int64
	memory    bool
	idle      int
}

func main() { gauge.Main("database", parseOptions, run) }

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	flags := o.Flags("database", 5, out)
	o.ShapeFlags(flags, "select, prepared, 8 clients")
	o.ContenderFlags(flags, contenderNames())
	flags.DurationVar(&o.runTime, "time", 2*time.Second, "how `long` one contender is kept busy in one round")
	flags.Int64Var(&o.copyBytes, "copy-bytes", 1<<30, "`bytes` that one COPY moves")
	flags.BoolVar(&o.memory, "memory", true, "measure the memory of idle sessions, too")
	flags.IntVar(&o.idle, "idle", 1000, "`number` of idle sessions")
	quick := flags.Bool("quick", false, "2 rounds of half a second, COPY of 128 MiB, 200 idle sessions: for a first look")
	err := o.Parse(flags, args, quick, map[string]string{"rounds": "2", "time": "500ms", "copy-bytes": "134217728", "idle": "200"})
	if err != nil {
		return nil, err
	}
	if o.runTime < 100*time.Millisecond || o.idle < 1 || o.idle > maxIdle || o.copyBytes < 1<<20 {
		return nil, fmt.Errorf("want -time of 100ms or more, -idle of 1 to %d, -copy-bytes of 1 MiB or more", maxIdle)
	}
	return o, nil
}

func run(ctx context.Context, o *options) error {
	if err := gauge.RaiseFileLimit(); err != nil {
		return err
	}
	r, err := onTestbed(ctx, o, func(tb *testbed) (*results, error) { return measureAll(ctx, tb, o) })
	if err != nil {
		return err
	}
	return o.Publish(r, r.write)
}

func measureAll(ctx context.Context, tb *testbed, o *options) (*results, error) {
	r := &results{Rounds: o.Rounds, CopyBytes: o.copyBytes}
	if o.memory {
		var err error
		if r.Memory, err = measureMemories(ctx, tb, o); err != nil {
			return nil, err
		}
	}
	var selected []shape
	for _, s := range shapes() {
		if o.Shapes.MatchString(s.String()) {
			selected = append(selected, s)
		}
	}
	for i, s := range selected {
		gauge.Note("%d/%d: %s", i+1, len(selected), s)
		result, err := measureShape(ctx, tb, s, o)
		if err != nil {
			return nil, err
		}
		r.Shapes = append(r.Shapes, result)
	}
	r.Skipped = tb.skipped
	return r, nil
}

// measureMemories looks at every contender there is for a server.
func measureMemories(ctx context.Context, tb *testbed, o *options) ([]footprint, error) {
	var all []footprint
	for _, s := range []server{postgres, mariadb} {
		for _, name := range o.Contenders {
			if name == direct || name == relay || s == mariadb && !(shape{server: s}).suits(name) {
				continue
			}
			gauge.Note("memory: %s", name)
			f, err := measureMemory(ctx, tb, name, s, o.idle)
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		}
	}
	return all, nil
}

// measureShape measures every contender that suits, after one run that is not
// counted.
func measureShape(ctx context.Context, tb *testbed, s shape, o *options) (result shapeResults, err error) {
	result = shapeResults{Shape: s.String(), shape: s}
	var contenders []*contender
	for _, name := range o.Contenders {
		if !s.suits(name) {
			continue
		}
		c, err := tb.contender(ctx, name, s.server)
		if err != nil {
			return result, err
		}
		if c == nil {
			continue
		}
		contenders = append(contenders, c)
		if _, err := measure(ctx, tb, c, s, o.warmUp()); err != nil {
			return result, err
		}
	}
	result.Samples, err = gauge.Rounds(0, o.Rounds, contenders, func(c *contender) (sample, error) {
		return measure(ctx, tb, c, s, o)
	})
	return result, err
}

// warmUp is a run whose figures are thrown away.
func (o *options) warmUp() *options {
	w := *o
	w.runTime, w.copyBytes = o.runTime/4, o.copyBytes/16
	return &w
}
