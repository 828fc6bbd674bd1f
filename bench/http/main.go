// Command http compares the HTTP data path with HAProxy and nginx: see README.md.
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
	runTime time.Duration
	roles   map[string]string // another program that this one is: its flag, and where
}

// Flags by which this program is another one, and measures nothing.
const (
	flagJSON   = "convert"
	flagGRPC   = "convert-grpc"
	flagOrigin = "serve-grpc"
)

// play is a role until it ends.
func play(flag, where string) error {
	switch flag {
	case flagJSON:
		return convert(where)
	case flagGRPC:
		return convertGRPC(where)
	default:
		return serveGRPC(where)
	}
}

func main() { gauge.Main("http", parseOptions, run) }

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{roles: map[string]string{}}
	flags := o.Flags("http", 7, out)
	o.ShapeFlags(flags, "GET, 128 B, 1 client")
	o.ContenderFlags(flags, contenderNames())
	flags.DurationVar(&o.runTime, "time", time.Second, "how `long` one contender is kept busy in one round")
	quick := flags.Bool("quick", false, "3 rounds of 400 ms: for a first look")
	role := func(name, usage string) {
		flags.Func(name, usage+", and measure nothing", func(where string) error { o.roles[name] = where; return nil })
	}
	role(flagJSON, "be the contender \"program\" of JSON to JSON at `address,origin`")
	role(flagGRPC, "be the contender \"program\" of JSON to gRPC at `address,origin`")
	role(flagOrigin, "be the gRPC server at `address`")
	if err := o.Parse(flags, args, quick, map[string]string{"rounds": "3", "time": "400ms"}); err != nil {
		return nil, err
	}
	if o.runTime < 50*time.Millisecond {
		return nil, errors.New("want -time of 50ms or more")
	}
	return o, nil
}

func run(ctx context.Context, o *options) error {
	for name, where := range o.roles {
		return play(name, where)
	}
	var r *results
	err := gauge.InFolder(ctx, func(dir string) (err error) {
		if slices.Contains(o.Contenders, dragoman) {
			if err := o.EnsureProxy(ctx, dir); err != nil {
				return err
			}
		}
		tb := &testbed{dir: dir, proxy: o.Proxy, args: o.ProxyArgs, profiles: o.Profiles, running: map[string]*contender{}}
		defer tb.close()
		r, err = measureAll(ctx, tb, o)
		return err
	})
	if err != nil {
		return err
	}
	return o.Publish(r, r.write)
}

func measureAll(ctx context.Context, tb *testbed, o *options) (*results, error) {
	if err := tb.startOrigin(ctx); err != nil {
		return nil, err
	}
	r := &results{Rounds: o.Rounds, Time: o.runTime}
	for _, s := range shapes() {
		if !o.Shapes.MatchString(s.String()) {
			continue
		}
		gauge.Note("%s", s)
		contenders, err := contendersOf(ctx, tb, s, o)
		if err != nil {
			return nil, err
		}
		if len(contenders) == 0 {
			continue
		}
		got, err := measureShape(ctx, contenders, s, o)
		if err != nil {
			return nil, err
		}
		r.Shapes = append(r.Shapes, got)
	}
	r.Skipped = tb.skipped
	return r, nil
}

// contendersOf starts those of a shape; none where one is missing that cannot do
// without.
func contendersOf(ctx context.Context, tb *testbed, s shape, o *options) ([]*contender, error) {
	var list []*contender
	for _, name := range s.kind.terms().contenders {
		if !slices.Contains(o.Contenders, name) {
			continue
		}
		c, err := tb.contender(ctx, name, s.kind)
		if err != nil {
			return nil, err
		}
		if c == nil {
			return nil, nil
		}
		list = append(list, c)
	}
	if s.kind != plain {
		return list, sameAnswers(list)
	}
	return list, nil
}

// measureShape measures every contender, after one round that is not counted.
func measureShape(ctx context.Context, contenders []*contender, s shape, o *options) (shapeResults, error) {
	samples, err := gauge.Rounds(1, o.Rounds, contenders, func(c *contender) (sample, error) {
		return measure(ctx, c, s, o.runTime)
	})
	return shapeResults{Shape: s.String(), Samples: samples, shape: s}, err
}
