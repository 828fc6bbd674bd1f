// Command metrics compares the metrics adapter with the exporters that it takes
// the place of: see README.md.
package main

import (
	"context"
	"io"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// options of a run.
type options struct {
	gauge.Options
	lines   int
	scrapes int
}

func main() { gauge.Main("metrics", parseOptions, run) }

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	flags := o.Flags("metrics", 5, out)
	o.ShapeFlags(flags, "UDP")
	flags.IntVar(&o.lines, "lines", 500_000, "`number` of lines that are sent in one round")
	flags.IntVar(&o.scrapes, "scrapes", 30, "`number` of scrapes in one round")
	quick := flags.Bool("quick", false, "2 rounds, a fifth of the lines: for a first look")
	return o, o.Parse(flags, args, quick, map[string]string{"rounds": "2", "lines": "100000", "scrapes": "10"})
}

func run(ctx context.Context, o *options) error {
	r := &results{Rounds: o.Rounds, Lines: o.lines}
	err := gauge.InFolder(ctx, func(dir string) error {
		if err := o.EnsureProxy(ctx, dir); err != nil {
			return err
		}
		for _, bench := range []func(context.Context, *options, string, *results) error{benchStatsd, benchJSON, benchNginx} {
			if err := bench(ctx, o, dir, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return o.Publish(r, r.write)
}
