// Command database compares the proxy with its peers in front of PostgreSQL and
// MariaDB on this machine: see README.md.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// options of a run.
type options struct {
	rounds     int
	filter     *regexp.Regexp
	runTime    time.Duration
	copyBytes  int64
	memory     bool
	idle       int
	contenders []string
	proxy      string
	proxyArgs  []string
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
		fmt.Fprintln(os.Stderr, "database:", err)
		os.Exit(exitUsage)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "database:", err)
		os.Exit(exitFailure)
	}
}

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	var filter, contenders, proxyArgs string
	var quick bool
	flags := flag.NewFlagSet("database", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.rounds, "rounds", 5, "`number` of rounds; a result is a median over them")
	flags.StringVar(&filter, "shape", "", "run only shapes that match this `regexp`, e.g. 'select, prepared, 8 clients'")
	flags.DurationVar(&o.runTime, "time", 2*time.Second, "how `long` one contender is kept busy in one round")
	flags.Int64Var(&o.copyBytes, "copy-bytes", 1<<30, "`bytes` that one COPY moves")
	flags.BoolVar(&o.memory, "memory", true, "measure the memory of idle sessions, too")
	flags.IntVar(&o.idle, "idle", 1000, "`number` of idle sessions")
	flags.BoolVar(&quick, "quick", false, "2 rounds of half a second, COPY of 128 MiB, 200 idle sessions: for a first look")
	flags.StringVar(&contenders, "contenders", strings.Join(contenderNames(), ","), "comma-separated `names`")
	flags.StringVar(&o.proxy, "proxy", "", "`path` of a compiled proxy (default: build cmd/proxy)")
	flags.StringVar(&proxyArgs, "proxy-args", "", "additional `arguments` for the proxy, separated by blanks")
	flags.StringVar(&o.jsonFile, "json", "", "write all samples to this `file`")
	flags.StringVar(&o.reportFile, "o", "", "write the report to this `file` too")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if quick {
		quicken(flags, o)
	}
	o.contenders, o.proxyArgs = strings.Split(contenders, ","), strings.Fields(proxyArgs)
	for _, c := range o.contenders {
		if !slices.Contains(contenderNames(), c) {
			return nil, fmt.Errorf("no contender %q: want some of %s", c, strings.Join(contenderNames(), ","))
		}
	}
	if o.rounds < 1 || o.runTime < 100*time.Millisecond || o.idle < 1 || o.idle > maxIdle || o.copyBytes < 1<<20 {
		return nil, fmt.Errorf("want -rounds of 1 or more, -time of 100ms or more, -idle of 1 to %d, -copy-bytes of 1 MiB or more", maxIdle)
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
		o.rounds = 2
	}
	if !given["time"] {
		o.runTime = time.Second / 2
	}
	if !given["copy-bytes"] {
		o.copyBytes = 128 << 20
	}
	if !given["idle"] {
		o.idle = 200
	}
}

func run(ctx context.Context, o *options) error {
	if err := gauge.RaiseFileLimit(); err != nil {
		return err
	}
	r, err := onTestbed(o, func(tb *testbed) (*results, error) { return measureAll(ctx, tb, o) })
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

func measureAll(ctx context.Context, tb *testbed, o *options) (*results, error) {
	r := &results{Rounds: o.rounds, CopyBytes: o.copyBytes}
	if o.memory {
		var err error
		if r.Memory, err = measureMemories(ctx, tb, o); err != nil {
			return nil, err
		}
	}
	var selected []shape
	for _, s := range shapes() {
		if o.filter.MatchString(s.String()) {
			selected = append(selected, s)
		}
	}
	for i, s := range selected {
		note("%d/%d: %s", i+1, len(selected), s)
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
		for _, name := range o.contenders {
			if name == direct || s == mariadb && !(shape{server: s}).suits(name) {
				continue
			}
			note("memory: %s", name)
			f, err := measureMemory(ctx, tb, name, s, o.idle)
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		}
	}
	return all, nil
}

// measureShape runs every contender once a round, each round beginning with
// another one, after one run that is not counted.
func measureShape(ctx context.Context, tb *testbed, s shape, o *options) (shapeResults, error) {
	result := shapeResults{Shape: s.String(), Samples: map[string][]sample{}, shape: s}
	var contenders []*contender
	for _, name := range o.contenders {
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
	for round := range o.rounds {
		if len(contenders) == 0 {
			break
		}
		for _, c := range gauge.Rotate(contenders, round) {
			got, err := measure(ctx, tb, c, s, o)
			if err != nil {
				return result, err
			}
			result.Samples[c.name] = append(result.Samples[c.name], got)
		}
	}
	return result, nil
}

// warmUp is a run whose figures are thrown away.
func (o *options) warmUp() *options {
	w := *o
	w.runTime, w.copyBytes = o.runTime/4, o.copyBytes/16
	return &w
}

// note says on stderr what is being done.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
