// Command bench compares the proxy with its peers on this machine: see
// README.md.
package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// options of a run.
type options struct {
	gauge.Options
	requests    float64 // scale
	quick       bool
	memory      bool
	idleClients int
}

func main() { gauge.Main("bench", parseOptions, run) }

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	flags := o.Flags("bench", 7, out)
	o.ShapeFlags(flags, "GET 64 B, 50 clients")
	o.ContenderFlags(flags, contenderNames())
	flags.Float64Var(&o.requests, "requests", 1, "`factor` on the number of requests (1: about half a second a run)")
	flags.BoolVar(&o.quick, "quick", false, "a few shapes, 3 rounds, fewer requests and idle clients: below 2 minutes")
	flags.BoolVar(&o.memory, "memory", true, "measure memory too")
	flags.IntVar(&o.idleClients, "idle-clients", 10000, "`number` of idle clients for the memory measurement")
	if err := o.Parse(flags, args, &o.quick, map[string]string{"rounds": "3", "requests": "0.4", "idle-clients": "2000"}); err != nil {
		return nil, err
	}
	if o.requests <= 0 || o.idleClients < 0 {
		return nil, errors.New("want -requests above 0, -idle-clients of 0 or more")
	}
	return o, nil
}

func run(ctx context.Context, o *options) error {
	if err := gauge.RaiseFileLimit(); err != nil {
		return err
	}
	var r *results
	err := gauge.InFolder(ctx, func(dir string) error {
		if slices.Contains(o.Contenders, dragoman) {
			if err := o.EnsureProxy(ctx, dir); err != nil {
				return err
			}
		}
		if err := o.EnsureRelay(ctx, dir); err != nil {
			return err
		}
		tb, err := newTestbed(ctx, dir)
		if err != nil {
			return err
		}
		defer tb.close()
		tb.args, tb.proxy, tb.relay, tb.profiles = o.ProxyArgs, o.Proxy, o.Relay, o.Profiles
		r, err = measureAll(ctx, tb, o)
		return err
	})
	if err != nil {
		return err
	}
	return o.Publish(r, r.write)
}

// runTime is how long one contender is kept busy in one round.
func (o *options) runTime() time.Duration {
	return time.Duration(o.requests * float64(500*time.Millisecond))
}

func measureAll(ctx context.Context, tb *testbed, o *options) (*results, error) {
	r := &results{Rounds: o.Rounds}
	if o.memory {
		for _, name := range o.Contenders {
			if name == direct || name == relay {
				continue
			}
			gauge.Note("memory: %s", name)
			f, err := measureMemory(ctx, tb, name, o.idleClients, o.runTime())
			if err != nil {
				return nil, err
			}
			r.Memory = append(r.Memory, f)
		}
	}
	selected := selectShapes(o.Shapes, o.quick)
	if len(selected) == 0 {
		return r, nil
	}
	var contenders []*contender
	for _, name := range o.Contenders {
		c, err := launch(ctx, tb, name)
		if err != nil {
			return nil, err
		}
		contenders = append(contenders, c)
	}
	filled := 0
	for i, s := range selected {
		gauge.Note("%d/%d: %s", i+1, len(selected), s)
		if s.size != filled {
			if err := fillAll(ctx, tb, contenders, s); err != nil {
				return nil, err
			}
			filled = s.size
		}
		result, err := measureShape(ctx, contenders, s, o)
		if err != nil {
			return nil, err
		}
		r.Shapes = append(r.Shapes, result)
	}
	return r, nil
}

// fillAll empties the shards before each contender's fill, to see what that one
// distributes, and then fills once more through all of them.
func fillAll(ctx context.Context, tb *testbed, contenders []*contender, s shape) error {
	for _, c := range contenders {
		if err := flush(ctx, tb.shards); err != nil {
			return err
		}
		if err := fill(ctx, c, tb.shards, s.keys(), s.size); err != nil {
			return err
		}
	}
	for _, c := range contenders {
		if err := fill(ctx, c, tb.shards, s.keys(), s.size); err != nil {
			return err
		}
	}
	return nil
}

// measureShape finds out how many requests each contender needs for a while, and
// measures it with so many.
func measureShape(ctx context.Context, contenders []*contender, s shape, o *options) (result shapeResults, err error) {
	requests := map[string]int{}
	for _, c := range contenders {
		if requests[c.name], err = calibrate(ctx, c, s, o.runTime()); err != nil {
			return result, err
		}
	}
	result = shapeResults{Shape: s.String(), shape: s}
	result.Samples, err = gauge.Rounds(0, o.Rounds, contenders, func(c *contender) (sample, error) {
		return measure(ctx, c, s, requests[c.name])
	})
	return result, err
}
