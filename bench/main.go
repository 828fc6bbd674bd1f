// Command bench compares the proxy with its peers on this machine: see
// README.md.
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// options of a run.
type options struct {
	rounds      int
	filter      *regexp.Regexp
	requests    float64 // scale
	quick       bool
	memory      bool
	idleClients int
	contenders  []string
	proxy       string
	proxyArgs   []string
	jsonFile    string
	reportFile  string
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
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitUsage)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(exitFailure)
	}
}

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	var filter, contenders, proxyArgs string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.rounds, "rounds", 7, "`number` of rounds; a result is a median over them")
	flags.StringVar(&filter, "shape", "", "run only shapes that match this `regexp`, e.g. 'GET 64 B, 50 clients'")
	flags.Float64Var(&o.requests, "requests", 1, "`factor` on the number of requests (1: about half a second a run)")
	flags.BoolVar(&o.quick, "quick", false, "a few shapes, 3 rounds, fewer requests and idle clients: below 2 minutes")
	flags.BoolVar(&o.memory, "memory", true, "measure memory too")
	flags.IntVar(&o.idleClients, "idle-clients", 10000, "`number` of idle clients for the memory measurement")
	flags.StringVar(&contenders, "contenders", strings.Join(contenderNames(), ","), "comma-separated `names`")
	flags.StringVar(&o.proxy, "proxy", "", "`path` of a compiled proxy (default: build cmd/proxy)")
	flags.StringVar(&proxyArgs, "proxy-args", "", "additional `arguments` for the proxy, separated by blanks")
	flags.StringVar(&o.jsonFile, "json", "", "write all samples to this `file`")
	flags.StringVar(&o.reportFile, "o", "", "write the report to this `file` too")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if o.quick {
		quicken(flags, o)
	}
	o.contenders = strings.Split(contenders, ",")
	o.proxyArgs = strings.Fields(proxyArgs)
	for _, c := range o.contenders {
		if !slices.Contains(contenderNames(), c) {
			return nil, fmt.Errorf("no contender %q: want some of %s", c, strings.Join(contenderNames(), ","))
		}
	}
	if o.rounds < 1 || o.requests <= 0 || o.idleClients < 0 {
		return nil, fmt.Errorf("want -rounds of 1 or more, -requests above 0, -idle-clients of 0 or more")
	}
	var err error
	if o.filter, err = regexp.Compile(filter); err != nil {
		return nil, fmt.Errorf("-shape: %w", err)
	}
	return o, nil
}

// quicken changes the defaults for a quick run, not what was given.
func quicken(flags *flag.FlagSet, o *options) {
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["rounds"] {
		o.rounds = 3
	}
	if !given["requests"] {
		o.requests = 0.4
	}
	if !given["idle-clients"] {
		o.idleClients = 2000
	}
}

func run(ctx context.Context, o *options) (err error) {
	if err := gauge.RaiseFileLimit(); err != nil {
		return err
	}
	tb, err := newTestbed(ctx)
	if err != nil {
		return err
	}
	defer func() {
		tb.close()
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w (logs are in %s)", err, tb.dir)
			return
		}
		_ = tb.remove()
	}()
	tb.args, tb.proxy = o.proxyArgs, o.proxy
	if tb.proxy == "" && slices.Contains(o.contenders, dragoman) {
		tb.proxy = filepath.Join(tb.dir, "proxy")
		if err := gauge.BuildProxy(ctx, tb.proxy); err != nil {
			return err
		}
	}
	r, err := measureAll(ctx, tb, o)
	if err != nil {
		return err
	}
	return publish(r, o)
}

func publish(r *results, o *options) error {
	if err := r.write(os.Stdout); err != nil {
		return err
	}
	if o.reportFile != "" {
		var b strings.Builder
		if err := r.write(&b); err != nil {
			return err
		}
		if err := os.WriteFile(o.reportFile, []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	if o.jsonFile == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(o.jsonFile, append(text, '\n'), 0o644)
}

// runTime is how long one contender is kept busy in one round.
func (o *options) runTime() time.Duration {
	return time.Duration(o.requests * float64(500*time.Millisecond))
}

func measureAll(ctx context.Context, tb *testbed, o *options) (*results, error) {
	r := &results{Rounds: o.rounds}
	if o.memory {
		for _, name := range o.contenders {
			if name == direct {
				continue
			}
			fmt.Fprintf(os.Stderr, "memory: %s\n", name)
			f, err := measureMemory(ctx, tb, name, o.idleClients, o.runTime())
			if err != nil {
				return nil, err
			}
			r.Memory = append(r.Memory, f)
		}
	}
	selected := selectShapes(o.filter, o.quick)
	if len(selected) == 0 {
		return r, nil
	}
	var contenders []*contender
	for _, name := range o.contenders {
		c, err := launch(ctx, tb, name)
		if err != nil {
			return nil, err
		}
		contenders = append(contenders, c)
	}
	filled := 0
	for i, s := range selected {
		fmt.Fprintf(os.Stderr, "%d/%d: %s\n", i+1, len(selected), s)
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

// measureShape runs every contender once a round, each round beginning with
// another one.
func measureShape(ctx context.Context, contenders []*contender, s shape, o *options) (shapeResults, error) {
	result := shapeResults{Shape: s.String(), Samples: map[string][]sample{}, shape: s}
	requests := map[string]int{}
	for _, c := range contenders {
		n, err := calibrate(ctx, c, s, o.runTime())
		if err != nil {
			return result, err
		}
		requests[c.name] = n
	}
	for round := range o.rounds {
		for _, c := range gauge.Rotate(contenders, round) {
			got, err := measure(ctx, c, s, requests[c.name])
			if err != nil {
				return result, err
			}
			result.Samples[c.name] = append(result.Samples[c.name], got)
		}
	}
	return result, nil
}
