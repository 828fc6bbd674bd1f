// Command logs compares the log adapter with rsyslog: see README.md.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

type options struct {
	gauge.Options
	megabytes int
}

const roundLimit = 5 * time.Minute

func main() { gauge.Main("logs", parseOptions, run) }

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{}
	flags := o.Flags("logs", 5, out)
	flags.IntVar(&o.megabytes, "mb", 256, "`megabytes` of log in one round")
	return o, o.Parse(flags, args, nil, nil)
}

func run(ctx context.Context, o *options) error {
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		return fmt.Errorf("%w: install rsyslog", err)
	}
	return gauge.InFolder(ctx, func(dir string) error {
		if err := o.EnsureProxy(ctx, dir); err != nil {
			return err
		}
		input := filepath.Join(dir, "access.log")
		lines, size, err := writeLog(input, o.megabytes<<20)
		if err != nil {
			return err
		}
		list := contenders(o.Proxy, input)
		samples, err := gauge.Rounds(0, o.Rounds, list, func(c contender) (sample, error) { return measure(ctx, &c, dir, lines) })
		if err != nil {
			return err
		}
		return o.Publish(nil, func(w io.Writer) error { return report(w, o, list, samples, size) })
	})
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

// Name is the contender's.
func (c contender) Name() string { return c.name }

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
func measure(ctx context.Context, c *contender, within string, lines int) (s sample, err error) {
	dir, err := os.MkdirTemp(within, "round-")
	if err != nil {
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

func report(w io.Writer, o *options, list []contender, samples map[string][]sample, size int) error {
	t := gauge.Table{Left: 1, Titles: []string{"", "MB per CPU-second", "MB per second", "CPU / rsyslog's", "resident MB"}}
	megabytes := float64(size) / 1e6
	peer := samples[list[len(list)-1].name]
	for _, c := range list {
		ours := samples[c.name]
		ratio := gauge.Ratio(ours, peer, func(s sample) float64 { return s.cpu.Seconds() })
		t.Add(c.name, gauge.Number(gauge.MedianOf(ours, func(s sample) float64 { return megabytes / s.cpu.Seconds() })),
			gauge.Number(gauge.MedianOf(ours, func(s sample) float64 { return megabytes / s.wall.Seconds() })), fmt.Sprintf("%.2f", ratio),
			gauge.Number(gauge.MedianOf(ours, func(s sample) float64 { return float64(s.rss) / 1e6 })))
	}
	if _, err := fmt.Fprintf(w, "# Logs\n\nMedians of %s rounds, %s MB of nginx' access log each; %s; %s. Ratios are of the same round.\n\n", strconv.Itoa(o.Rounds),
		gauge.Number(megabytes), gauge.CPUModel(), gauge.Version("rsyslogd", "-v")); err != nil {
		return err
	}
	return t.Write(w)
}
