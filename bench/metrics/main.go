// Command metrics compares the metrics adapter with the exporters that it takes
// the place of: see README.md.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// options of a run.
type options struct {
	rounds     int
	lines      int
	scrapes    int
	filter     *regexp.Regexp
	proxy      string
	jsonFile   string
	reportFile string
}

const (
	exitFailure = 1
	exitUsage   = 64
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(exitUsage)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "metrics:", err)
		os.Exit(exitFailure)
	}
}

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	var filter string
	var quick bool
	flags := flag.NewFlagSet("metrics", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.rounds, "rounds", 5, "`number` of rounds; a result is a median over them")
	flags.IntVar(&o.lines, "lines", 500_000, "`number` of lines that are sent in one round")
	flags.IntVar(&o.scrapes, "scrapes", 30, "`number` of scrapes in one round")
	flags.StringVar(&filter, "shape", "", "run only shapes that match this `regexp`, e.g. 'UDP'")
	flags.BoolVar(&quick, "quick", false, "2 rounds, a fifth of the lines: for a first look")
	flags.StringVar(&o.proxy, "proxy", "", "`path` of a compiled proxy (default: build cmd/proxy)")
	flags.StringVar(&o.jsonFile, "json", "", "write all samples to this `file`")
	flags.StringVar(&o.reportFile, "o", "", "write the report to this `file` too")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if quick {
		o.rounds, o.lines, o.scrapes = 2, o.lines/5, o.scrapes/3
	}
	var err error
	o.filter, err = regexp.Compile(filter)
	return o, err
}

func run(ctx context.Context, o *options) (err error) {
	dir, err := os.MkdirTemp("", "bench-metrics")
	if err != nil {
		return err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
			return
		}
		err = fmt.Errorf("%w (logs are in %s)", err, dir)
	}()
	if o.proxy == "" {
		o.proxy = filepath.Join(dir, "proxy")
		if err := gauge.BuildProxy(ctx, o.proxy); err != nil {
			return err
		}
	}
	r := &results{Rounds: o.rounds, Lines: o.lines}
	for _, bench := range []func(context.Context, *options, string, *results) error{benchStatsd, benchJSON, benchNginx} {
		if err := bench(ctx, o, dir, r); err != nil {
			return err
		}
	}
	return r.save(o)
}

func (r *results) save(o *options) error {
	if o.jsonFile != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.jsonFile, text, 0o644); err != nil {
			return err
		}
	}
	if err := r.write(os.Stdout); err != nil {
		return err
	}
	if o.reportFile == "" {
		return nil
	}
	f, err := os.Create(o.reportFile)
	if err != nil {
		return err
	}
	if err := r.write(f); err != nil {
		return err
	}
	return f.Close()
}
