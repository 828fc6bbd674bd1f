// Command logs compares the log adapter with rsyslog: see README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

type options struct {
	rounds, megabytes int
	proxy, report     string
}

const (
	exitFailure = 1
	exitUsage   = 64
	roundLimit  = 5 * time.Minute
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	o := &options{}
	flags := flag.NewFlagSet("logs", flag.ContinueOnError)
	flags.IntVar(&o.rounds, "rounds", 5, "`number` of rounds; a result is a median over them")
	flags.IntVar(&o.megabytes, "mb", 256, "`megabytes` of log in one round")
	flags.StringVar(&o.proxy, "proxy", "", "`path` of a compiled proxy (default: build cmd/proxy)")
	flags.StringVar(&o.report, "o", "", "write the report to this `file` too")
	if err := flags.Parse(os.Args[1:]); err != nil {
		os.Exit(exitUsage)
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "logs:", err)
		os.Exit(exitFailure)
	}
}

func run(ctx context.Context, o *options) (err error) {
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		return fmt.Errorf("%w: install rsyslog", err)
	}
	dir, err := os.MkdirTemp("", "bench-logs")
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
	input := filepath.Join(dir, "access.log")
	lines, size, err := writeLog(input, o.megabytes<<20)
	if err != nil {
		return err
	}
	list := contenders(o.proxy, input)
	samples := make([][]sample, len(list))
	for round := range o.rounds {
		for _, i := range gauge.Rotate([]int{0, 1, 2}, round) {
			s, err := measure(ctx, &list[i], filepath.Join(dir, fmt.Sprintf("%d-%d", round, i)), lines)
			if err != nil {
				return fmt.Errorf("%s: %w", list[i].name, err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	return report(o, list, samples, size)
}

// writeLog writes an access log.
func writeLog(path string, size int) (lines, written int, err error) {
	var b bytes.Buffer
	for b.Len() < size {
		fmt.Fprintf(&b, "10.%d.%d.7 - - [02/Jan/2026:15:%02d:%02d +0000] \"GET /api/v1/orders/%d?full=true HTTP/1.1\" 200 %d \"https://example.com/orders\" "+
			"\"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\"\n", lines%256, lines%251, lines/60000%60, lines/1000%60, lines, lines%9000)
		lines++
	}
	return lines, b.Len(), os.WriteFile(path, b.Bytes(), 0o600)
}

// contender is one way to ship a file.
type contender struct {
	name  string
	start func(dir string) (*gauge.Process, string, error) // and the file that it writes
}

// sample is one round of one contender.
type sample struct {
	cpu, wall time.Duration
	rss       int64
}

// contenders are the adapter, with and without parsing, and rsyslog, which wraps
// lines in JSON and parses nothing.
func contenders(proxy, input string) []contender {
	adapter := func(format string) func(string) (*gauge.Process, string, error) {
		return func(dir string) (*gauge.Process, string, error) {
			file, out := filepath.Join(dir, "mesh.yaml"), filepath.Join(dir, "out")
			text := fmt.Sprintf("apiVersion: mesh.dragoman.io/v1alpha1\nkind: Adapter\nmetadata: {name: bench}\nspec: {logs: {positions: %s/positions, sink: {stdout: {}},\n"+
				"  sources: [{name: access, paths: [%s], format: %s}]}}\n", dir, input, format)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				return nil, "", err
			}
			// The shell puts the proxy's own log elsewhere.
			p, err := gauge.Start("proxy", out, "/bin/sh", "-c", fmt.Sprintf("exec %s run -f %s --admin-address off 2>%s/err", proxy, file, dir))
			return p, out, err
		}
	}
	return []contender{
		{"dragoman, nginxCombined to JSON", adapter("nginxCombined")},
		{"dragoman, plain to JSON", adapter("plain")},
		{"rsyslog, line to JSON", func(dir string) (*gauge.Process, string, error) { return rsyslog(dir, input) }},
	}
}

const rsyslogConf = `global(workDirectory="%[1]s" maxMessageSize="64k")
module(load="imfile" mode="inotify")
template(name="json" type="list" option.jsonf="on") {
  property(outname="timestamp" name="timegenerated" dateFormat="rfc3339" format="jsonf")
  property(outname="body" name="rawmsg" format="jsonf")
  property(outname="file" name="$!metadata!filename" format="jsonf")
}
input(type="imfile" File="%[2]s" Tag="access" ruleset="out" addMetadata="on")
ruleset(name="out") { action(type="omfile" file="%[3]s" template="json" ioBufferSize="256k" asyncWriting="off" flushOnTXEnd="on") }
`

func rsyslog(dir, input string) (*gauge.Process, string, error) {
	conf, out := filepath.Join(dir, "rsyslog.conf"), filepath.Join(dir, "out")
	if err := os.WriteFile(conf, fmt.Appendf(nil, rsyslogConf, dir, input, out), 0o600); err != nil {
		return nil, "", err
	}
	p, err := gauge.Start("rsyslogd", filepath.Join(dir, "err"), "rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	return p, out, err
}

// measure has one contender ship the file, and waits until all lines are out.
func measure(ctx context.Context, c *contender, dir string, lines int) (s sample, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return s, err
	}
	began := time.Now()
	p, out, err := c.start(dir)
	if err != nil {
		return s, err
	}
	defer p.Stop()
	if err := awaitLines(ctx, out, lines); err != nil {
		return s, err
	}
	s.wall = time.Since(began)
	if s.cpu, err = gauge.CPUTime(p.PID()); err != nil {
		return s, err
	}
	s.rss, err = gauge.RSS(p.PID())
	return s, errors.Join(err, os.Remove(out))
}

func awaitLines(ctx context.Context, path string, want int) error {
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var f *os.File
	buf := make([]byte, 1<<20)
	for got := 0; got < want; {
		if f == nil {
			if opened, err := os.Open(path); err == nil {
				defer opened.Close()
				f = opened
			}
		}
		for f != nil {
			n, err := f.Read(buf)
			got += bytes.Count(buf[:n], []byte{'\n'})
			if err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d lines are out: %w", got, want, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

func report(o *options, list []contender, samples [][]sample, size int) error {
	t := gauge.Table{Left: 1, Titles: []string{"", "MB per CPU-second", "MB per second", "CPU / rsyslog's", "resident MB"}}
	peer := samples[len(samples)-1] // in rounds, as the others
	for i := range list {
		var cpu, wall, ratio, rss []float64
		for round, s := range samples[i] {
			cpu = append(cpu, float64(size)/1e6/s.cpu.Seconds())
			wall = append(wall, float64(size)/1e6/s.wall.Seconds())
			ratio = append(ratio, s.cpu.Seconds()/peer[round].cpu.Seconds())
			rss = append(rss, float64(s.rss)/1e6)
		}
		t.Add(list[i].name, gauge.Number(gauge.Median(cpu)), gauge.Number(gauge.Median(wall)), fmt.Sprintf("%.2f", gauge.Median(ratio)), gauge.Number(gauge.Median(rss)))
	}
	var w io.Writer = os.Stdout
	if o.report != "" {
		f, err := os.Create(o.report)
		if err != nil {
			return err
		}
		defer f.Close()
		w = io.MultiWriter(os.Stdout, f)
	}
	if _, err := fmt.Fprintf(w, "# Logs\n\nMedians of %s rounds, %s MB of nginx' access log each; %s; %s. Ratios are of the same round.\n\n", strconv.Itoa(o.rounds),
		gauge.Number(float64(size)/1e6), gauge.CPUModel(), gauge.Version("rsyslogd", "-v")); err != nil {
		return err
	}
	return t.Write(w)
}
