// Command http compares the HTTP data path with HAProxy and nginx: see README.md.
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
	rounds     int
	runTime    time.Duration
	filter     *regexp.Regexp
	contenders []string
	proxy      string
	proxyArgs  []string
	jsonFile   string
	reportFile string
	roles      map[string]string // another program that this one is: its flag, and where
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

const (
	exitFailure = 1
	exitUsage   = 64
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(exitUsage)
	}
	for name, where := range o.roles {
		fmt.Fprintln(os.Stderr, "http:", play(name, where))
		os.Exit(exitFailure)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "http:", err)
		os.Exit(exitFailure)
	}
}

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{roles: map[string]string{}}
	var filter, contenders, proxyArgs string
	var quick bool
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.rounds, "rounds", 7, "`number` of rounds; a result is a median over them")
	flags.DurationVar(&o.runTime, "time", time.Second, "how `long` one contender is kept busy in one round")
	flags.StringVar(&filter, "shape", "", "run only shapes that match this `regexp`, e.g. 'GET, 128 B, 1 client'")
	flags.BoolVar(&quick, "quick", false, "3 rounds of 400 ms: for a first look")
	flags.StringVar(&contenders, "contenders", strings.Join(contenderNames(), ","), "comma-separated `names`")
	flags.StringVar(&o.proxy, "proxy", "", "`path` of a compiled proxy (default: build cmd/proxy)")
	flags.StringVar(&proxyArgs, "proxy-args", "", "additional `arguments` for the proxy, separated by blanks")
	flags.StringVar(&o.jsonFile, "json", "", "write all samples to this `file`")
	flags.StringVar(&o.reportFile, "o", "", "write the report to this `file` too")
	role := func(name, usage string) {
		flags.Func(name, usage+", and measure nothing", func(where string) error { o.roles[name] = where; return nil })
	}
	role(flagJSON, "be the contender \"program\" of JSON to JSON at `address,origin`")
	role(flagGRPC, "be the contender \"program\" of JSON to gRPC at `address,origin`")
	role(flagOrigin, "be the gRPC server at `address`")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if quick {
		o.rounds, o.runTime = 3, 400*time.Millisecond
	}
	o.contenders, o.proxyArgs = strings.Split(contenders, ","), strings.Fields(proxyArgs)
	for _, c := range o.contenders {
		if !slices.Contains(contenderNames(), c) {
			return nil, fmt.Errorf("no contender %q: want some of %s", c, strings.Join(contenderNames(), ","))
		}
	}
	if o.rounds < 1 || o.runTime < 50*time.Millisecond {
		return nil, fmt.Errorf("want -rounds of 1 or more and -time of 50ms or more")
	}
	var err error
	if o.filter, err = regexp.Compile(filter); err != nil {
		return nil, fmt.Errorf("-shape: %w", err)
	}
	return o, nil
}

func run(ctx context.Context, o *options) (err error) {
	dir, err := os.MkdirTemp("", "dragoman-bench-")
	if err != nil {
		return err
	}
	tb := &testbed{dir: dir, proxy: o.proxy, args: o.proxyArgs, running: map[string]*contender{}}
	defer func() {
		tb.close()
		if err != nil {
			err = fmt.Errorf("%w (logs are in %s)", err, dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	if tb.proxy == "" && slices.Contains(o.contenders, dragoman) {
		tb.proxy = filepath.Join(dir, "proxy")
		if err := gauge.BuildProxy(ctx, tb.proxy); err != nil {
			return err
		}
	}
	r, err := measureAll(ctx, tb, o)
	if err != nil {
		return err
	}
	return r.save(o)
}

func measureAll(ctx context.Context, tb *testbed, o *options) (*results, error) {
	if err := tb.startOrigin(ctx); err != nil {
		return nil, err
	}
	r := &results{Rounds: o.rounds, Time: o.runTime}
	for _, s := range shapes() {
		if !o.filter.MatchString(s.String()) {
			continue
		}
		note("%s", s)
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
		if !slices.Contains(o.contenders, name) {
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

// measureShape runs every contender once a round, each round beginning with
// another one, after one round that is not counted.
func measureShape(ctx context.Context, contenders []*contender, s shape, o *options) (shapeResults, error) {
	res := shapeResults{Shape: s.String(), Samples: map[string][]sample{}, shape: s}
	for round := range o.rounds + 1 {
		for _, c := range gauge.Rotate(contenders, round) {
			got, err := measure(ctx, c, s, o.runTime)
			if err != nil {
				return res, err
			}
			if round > 0 {
				res.Samples[c.name] = append(res.Samples[c.name], got)
			}
		}
	}
	return res, nil
}

func (r *results) save(o *options) error {
	if o.jsonFile != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.jsonFile, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	var b strings.Builder
	if err := r.write(&b); err != nil {
		return err
	}
	fmt.Print(b.String())
	if o.reportFile == "" {
		return nil
	}
	return os.WriteFile(o.reportFile, []byte(b.String()), 0o644)
}

// note says on stderr what is being done.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
