package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

const (
	statsdExporter = "statsd_exporter"
	liveSeries     = 10_000
	readBuffer     = 4 << 20 // bytes, of both; the kernel allows as much as net.core.rmem_max says
	pacedRate      = 40_000  // datagrams a second
)

// statsdServer is one of the two, running.
type statsdServer struct {
	name    string
	process *gauge.Process
	http    string
	lines   string // address, UDP and TCP
	tcp     net.Conn
	udp     net.Conn
}

// Name is the server's.
func (s *statsdServer) Name() string { return s.name }

func startStatsd(ctx context.Context, name, dir, program string, args ...string) (*statsdServer, error) {
	s := &statsdServer{name: name}
	for _, address := range []*string{&s.http, &s.lines} {
		port, err := gauge.FreePort(ctx)
		if err != nil {
			return nil, err
		}
		*address = "127.0.0.1:" + strconv.Itoa(port)
	}
	args = append(args, "--web.listen-address="+s.http, "--statsd.listen-udp="+s.lines, "--statsd.listen-tcp="+s.lines,
		"--statsd.read-buffer="+strconv.Itoa(readBuffer))
	var err error
	if s.process, err = gauge.Start(name, filepath.Join(dir, name+".log"), program, args...); err != nil {
		return nil, err
	}
	err = s.process.Await(ctx, func(ctx context.Context) error {
		_, err := get(ctx, s.http, "/-/ready", nil)
		return err
	})
	if err == nil {
		s.tcp, err = net.Dial("tcp", s.lines)
	}
	if err == nil {
		s.udp, err = net.Dial("udp", s.lines)
	}
	if err != nil {
		s.process.Stop()
	}
	return s, err
}

func (s *statsdServer) stop() {
	_ = s.tcp.Close()
	_ = s.udp.Close()
	s.process.Stop()
}

// benchStatsd measures lines and scrapes.
func benchStatsd(ctx context.Context, o *options, dir string, r *results) error {
	theirs, err := exec.LookPath("bin/statsd_exporter")
	if err != nil {
		return fmt.Errorf("%w: make test-tools builds it; run this from the project's folder", err)
	}
	r.Versions = append(r.Versions, "statsd_exporter 0.31.0")
	ours, err := startStatsd(ctx, dragoman, dir, o.Proxy, "statsd-exporter")
	if err != nil {
		return err
	}
	defer ours.stop()
	peer, err := startStatsd(ctx, statsdExporter, dir, theirs)
	if err != nil {
		return err
	}
	defer peer.stop()
	servers := []*statsdServer{ours, peer}
	lines := statsdLines(liveSeries)
	if err := sameExposition(ctx, servers, lines); err != nil {
		return err
	}
	for _, shape := range statsdShapes(o, lines) {
		if !o.Shapes.MatchString(shape.name) {
			continue
		}
		res := shapeResults{Shape: shape.name, Unit: shape.unit, Peer: statsdExporter, goal: shape.goal}
		res.Samples, err = gauge.Rounds(1, o.Rounds, servers, func(s *statsdServer) (sample, error) {
			return s.measure(ctx, &shape)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", shape.name, err)
		}
		r.Shapes = append(r.Shapes, res)
	}
	return nil
}

// statsdShape is something to do to a server so many times.
type statsdShape struct {
	name  string
	unit  string
	goal  float64
	count int
	lines bool // of which some may be lost
	do    func(ctx context.Context, s *statsdServer) error
}

func statsdShapes(o *options, lines []string) []statsdShape {
	scrape := func(headers map[string]string) func(context.Context, *statsdServer) error {
		return func(ctx context.Context, s *statsdServer) error {
			for range o.scrapes {
				if _, err := get(ctx, s.http, "/metrics", headers); err != nil {
					return err
				}
			}
			return nil
		}
	}
	datagrams := pack(lines, o.lines, 1)
	packed := pack(lines, o.lines, 10)
	return []statsdShape{
		{"TCP", "line", 0.25, o.lines, true, func(_ context.Context, s *statsdServer) error { return stream(s, packed) }},
		{"UDP, a line a datagram, 40,000/s", "line", 0.25, o.lines, true, func(_ context.Context, s *statsdServer) error { return paced(s, datagrams) }},
		{"UDP, ten lines a datagram, 40,000/s", "line", 0.25, o.lines, true, func(_ context.Context, s *statsdServer) error { return paced(s, packed) }},
		{"UDP, a line a datagram, as fast as it goes", "line", 0.25, o.lines, true, func(_ context.Context, s *statsdServer) error { return flood(s, datagrams) }},
		{"scrape of 10,000 series, text", "scrape", 0.3, o.scrapes, false, scrape(plainText())},
		{"scrape of 10,000 series, as Prometheus asks", "scrape", 0.3, o.scrapes, false, scrape(asPrometheus())},
	}
}

// measure is what a shape costs a server, and what it loses.
func (s *statsdServer) measure(ctx context.Context, shape *statsdShape) (sample, error) {
	before, err := s.samples(ctx)
	if err != nil {
		return sample{}, err
	}
	start, err := settled(ctx, s.process.PID())
	if err != nil {
		return sample{}, err
	}
	if err := shape.do(ctx, s); err != nil {
		return sample{}, err
	}
	end, err := settled(ctx, s.process.PID())
	if err != nil {
		return sample{}, err
	}
	after, err := s.samples(ctx)
	if err != nil {
		return sample{}, err
	}
	size, err := gauge.RSS(s.process.PID())
	m := sample{RSS: float64(size)}
	done := float64(shape.count)
	if shape.lines {
		m.Lost = 1 - (after-before)/done
		done = after - before
	}
	m.CPU = float64((end - start).Microseconds()) / done
	return m, err
}

// settled waits until the server uses next to no CPU time, and says how much it
// has used so far.
func settled(ctx context.Context, pid int) (time.Duration, error) {
	const pause, rest = 200 * time.Millisecond, 2 * time.Millisecond
	last, err := gauge.CPUTime(pid)
	for err == nil && ctx.Err() == nil {
		time.Sleep(pause)
		var now time.Duration
		if now, err = gauge.CPUTime(pid); now-last <= rest {
			return now, err
		}
		last = now
	}
	if err == nil {
		err = ctx.Err()
	}
	return 0, err
}

// samples is how many it has taken.
func (s *statsdServer) samples(ctx context.Context) (float64, error) {
	text, err := get(ctx, s.http, "/metrics", nil)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, "statsd_exporter_samples_total "); ok {
			return strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return 0, fmt.Errorf("%s shows no statsd_exporter_samples_total", s.name)
}
