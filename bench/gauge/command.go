package gauge

import (
	"context"
	"encoding/json"
	"errors"
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
)

// Exit codes of a benchmark.
const (
	ExitFailure = 1
	ExitUsage   = 64
)

// Main is a benchmark's main: it reads the command line, and runs until the end or
// an interrupt.
func Main[O any](name string, parse func(args []string, out io.Writer) (*O, error), run func(context.Context, *O) error) {
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(ExitUsage)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err = run(ctx, o)
	cancel()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(ExitFailure)
	}
}

// Options are what the command lines of benchmarks have in common.
type Options struct {
	Rounds     int            // a result is a median over them
	Shapes     *regexp.Regexp // that are measured
	Contenders []string
	Proxy      string // path of a compiled proxy; "": EnsureProxy builds it
	Relay      string // of the compiled relay, once EnsureRelay built it
	ProxyArgs  []string
	Profiles   string // folder for CPU profiles of the proxy; "": none
	Samples    string // file for all samples; "": none
	Report     string // file for the report, beside stdout; "": none
}

// errRounds is a number of rounds that is none.
var errRounds = errors.New("want -rounds of 1 or more")

// Flags begins a command line with what all benchmarks have.
func (o *Options) Flags(name string, rounds int, out io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.Rounds, "rounds", rounds, "`number` of rounds; a result is a median over them")
	flags.StringVar(&o.Proxy, "proxy", "", "`path` of a compiled proxy (default: build cmd/proxy)")
	flags.StringVar(&o.Report, "o", "", "write the report to this `file` too")
	return flags
}

// ShapeFlags adds those of a benchmark of several shapes.
func (o *Options) ShapeFlags(flags *flag.FlagSet, example string) {
	o.Shapes = regexp.MustCompile("")
	flags.Func("shape", "run only shapes that match this `regexp`, e.g. '"+example+"'", func(s string) (err error) {
		o.Shapes, err = regexp.Compile(s)
		return err
	})
	flags.StringVar(&o.Samples, "json", "", "write all samples to this `file`")
}

// ContenderFlags adds those of a benchmark whose contenders can be chosen.
func (o *Options) ContenderFlags(flags *flag.FlagSet, names []string) {
	o.Contenders = names
	all := strings.Join(names, ",")
	flags.Func("contenders", "comma-separated `names` (default "+all+")", func(s string) error {
		o.Contenders = strings.Split(s, ",")
		for _, c := range o.Contenders {
			if !slices.Contains(names, c) {
				return fmt.Errorf("no contender %q: want some of %s", c, all)
			}
		}
		return nil
	})
	flags.StringVar(&o.Profiles, "profiles", "", "keep CPU profiles of the proxy in this `folder`")
	flags.Func("proxy-args", "additional `arguments` for the proxy, separated by blanks", func(s string) error {
		o.ProxyArgs = strings.Fields(s)
		return nil
	})
}

// Parse reads a command line. Where quick is set by it, what was not given is as
// quickly says.
func (o *Options) Parse(flags *flag.FlagSet, args []string, quick *bool, quickly map[string]string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if quick != nil && *quick {
		given := map[string]bool{}
		flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range quickly {
			if given[name] {
				continue
			}
			if err := flags.Set(name, value); err != nil {
				return fmt.Errorf("-quick: %w", err)
			}
		}
	}
	if o.Rounds < 1 {
		return errRounds
	}
	return nil
}

// EnsureProxy has a compiled proxy, in a folder if none was named.
func (o *Options) EnsureProxy(ctx context.Context, dir string) error {
	if o.Proxy != "" {
		return nil
	}
	o.Proxy = filepath.Join(dir, "proxy")
	return BuildProxy(ctx, o.Proxy)
}

// Publish prints a report, and writes the files that were asked for.
func (o *Options) Publish(results any, report func(io.Writer) error) error {
	if o.Samples != "" {
		text, err := json.MarshalIndent(results, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.Samples, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	var b strings.Builder
	if err := report(&b); err != nil {
		return err
	}
	if _, err := io.WriteString(os.Stdout, b.String()); err != nil {
		return err
	}
	if o.Report == "" {
		return nil
	}
	return os.WriteFile(o.Report, []byte(b.String()), 0o644)
}

// InFolder calls run with a new folder for configurations and logs, which stays
// only if run fails by itself.
func InFolder(ctx context.Context, run func(dir string) error) error {
	dir, err := os.MkdirTemp("", "dragoman-bench-")
	if err != nil {
		return err
	}
	err = run(dir)
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (logs are in %s)", err, dir)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// Note says on stderr what is being done.
func Note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
