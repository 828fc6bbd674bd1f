package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

type report struct {
	out      io.Writer
	settings *settings
}

// figures are what one contender has come to.
type figures struct {
	name              string
	rss, peak, heap   int64
	first, cold, warm time.Duration
	hot               time.Duration
	hotWall           time.Duration
}

func (r *report) printf(format string, args ...any) { fmt.Fprintf(r.out, format+"\n", args...) }

// note says on stderr what is being done.
func note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (r *report) all() error {
	r.printf("# Results\n\nControl plane: %s; %s, %d CPUs, %s, GOGC=%s.\n", r.settings.size, time.Now().Format(time.DateOnly),
		runtime.NumCPU(), runtime.Version(), gogc())
	if r.settings.perConnection == 1 {
		r.printf("Each proxy has a TCP connection of its own.\n")
	} else {
		r.printf("%d proxies share a TCP connection.\n", r.settings.perConnection)
	}
	if r.settings.secure {
		r.printf("Connections are TLS 1.3.\n")
	}
	var all []figures
	for name := range strings.SplitSeq(r.settings.contenders, ",") {
		f, err := r.contend(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, f)
	}
	r.table(all)
	if all[0].name != "dragoman" {
		return nil
	}
	r.goals(all)
	if err := r.growth(); err != nil {
		return err
	}
	return r.convergence()
}

// contend measures one contender at full size.
func (r *report) contend(name string) (figures, error) {
	f := figures{name: name}
	s := r.settings.size
	note("%s: %s", name, s)
	c, err := start(name, s, r.settings.secure)
	if err != nil {
		return f, err
	}
	defer c.stop()
	all := int64(s.Proxies) * int64(min(s.Names, s.Services))
	fleet := newFleet(s, r.settings)
	connect := func(again bool, want int64) (time.Duration, error) {
		return c.spent(func() error {
			if err := fleet.connect(c.address, again); err != nil {
				return err
			}
			return fleet.await(want)
		})
	}
	if f.first, err = connect(false, all); err != nil {
		return f, err
	}
	fleet.leave()
	fleet.remember = true
	if f.cold, err = connect(false, all); err != nil {
		return f, err
	}
	fleet.remember = false
	if f.rss, err = c.memory("VmRSS"); err != nil {
		return f, err
	}
	if err := r.hot(c, fleet, &f); err != nil {
		return f, err
	}
	fleet.leave()
	if f.warm, err = connect(true, 0); err != nil {
		return f, err
	}
	answer, err := c.ask("heap")
	f.heap = int64(answer.Heap)
	if err != nil {
		return f, err
	}
	f.peak, err = c.memory("VmHWM")
	fleet.leave()
	note("  resident %d MB (peak %d), cold %.2f s, hot %.2f s", f.rss>>20, f.peak>>20, f.cold.Seconds(), f.hot.Seconds())
	return f, err
}

// hot changes an endpoint that every proxy has, some times; the figures are the
// mean.
func (r *report) hot(c *child, fleet *fleet, f *figures) error {
	rounds := 5
	var sum, wall time.Duration
	for i := range rounds {
		want := fleet.got.Load() + int64(r.settings.size.Proxies)
		cpu, err := c.spent(func() error {
			began := time.Now()
			if _, err := c.ask("change 0 %d", i+1); err != nil {
				return err
			}
			err := fleet.await(want)
			wall += time.Since(began)
			return err
		})
		if err != nil {
			return err
		}
		sum += cpu
	}
	f.hot, f.hotWall = sum/time.Duration(rounds), wall/time.Duration(rounds)
	return nil
}

func titles(name string) string {
	switch name {
	case "snapshot":
		return "go-control-plane SnapshotCache"
	case "linear":
		return "go-control-plane Mux + LinearCache"
	default:
		return name
	}
}

func (r *report) table(all []figures) {
	r.printf("| server | resident | peak | live heap | CPU, first connect of all | CPU, cold reconnect of all | CPU, reconnect with versions | CPU, hot change to all | hot change, wall clock |")
	r.printf("|:--|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, f := range all {
		r.printf("| %s | %d MB | %d MB | %d MB | %.2f s | %.2f s | %.2f s | %.2f s | %.2f s |", titles(f.name), f.rss>>20, f.peak>>20, f.heap>>20,
			f.first.Seconds(), f.cold.Seconds(), f.warm.Seconds(), f.hot.Seconds(), f.hotWall.Seconds())
	}
	r.printf("")
}

// goals holds the figures against what was set out for.
func (r *report) goals(all []figures) {
	own := all[0]
	r.printf("| goal | | |\n|:--|--:|:--|")
	line := func(goal, got string, met bool) {
		verdict := "met"
		if !met {
			verdict = "MISSED"
		}
		r.printf("| %s | %s | %s |", goal, got, verdict)
	}
	gb := float64(own.rss) / 1e9
	line("resident at most 0.6 GB", fmt.Sprintf("%.2f GB", gb), gb <= .6)
	slower := max(own.first, own.cold)
	line("cold reconnect of all in at most 10 CPU-seconds", fmt.Sprintf("%.2f s", slower.Seconds()), slower <= 10*time.Second)
	line("one hot endpoint change to all in at most 1 CPU-second", fmt.Sprintf("%.2f s", own.hot.Seconds()), own.hot <= time.Second)
	for _, f := range all[1:] {
		hot, cold := f.hot.Seconds()/own.hot.Seconds(), f.first.Seconds()/own.first.Seconds()
		if f.name == "snapshot" {
			line("hot change: at least 5 times less CPU than SnapshotCache", fmt.Sprintf("%.1f times", hot), hot >= 5)
			r.printf("| first connect of all, against SnapshotCache | %.1f times | |", cold)
			continue
		}
		r.printf("| hot change, against LinearCache | %.1f times | |\n| first connect of all, against LinearCache | %.1f times | |", hot, cold)
	}
	r.printf("")
}

// growth shows what a change costs in meshes of different sizes, as long as the
// same number of proxies follow the service.
func (r *report) growth() error {
	changes := 2000
	if r.settings.quick {
		changes = 500
	}
	r.printf("One changed endpoint, 100 proxies that follow it, in meshes of different sizes:\n")
	r.printf("| endpoints in all | CPU per change | CPU per delivery |\n|--:|--:|--:|")
	for _, services := range []int{100, 1000, 5000} {
		s := size{Proxies: 100, Services: services, Endpoints: 10, Names: 50}
		note("growth: %s", s)
		cpu, _, err := r.changes(s, changes)
		if err != nil {
			return err
		}
		per := cpu / time.Duration(changes)
		r.printf("| %d | %.0f µs | %.1f µs |", services*10, float64(per.Nanoseconds())/1e3, float64(per.Nanoseconds())/1e3/float64(s.Proxies))
	}
	r.printf("")
	return nil
}

// changes makes so many hot changes, one after the other has arrived everywhere.
func (r *report) changes(s size, count int) (time.Duration, []time.Duration, error) {
	c, err := start("dragoman", s, r.settings.secure)
	if err != nil {
		return 0, nil, err
	}
	defer c.stop()
	fleet := newFleet(s, r.settings)
	if err := fleet.connect(c.address, false); err != nil {
		return 0, nil, err
	}
	defer fleet.leave()
	want := int64(s.Proxies) * int64(min(s.Names, s.Services))
	if err := fleet.await(want); err != nil {
		return 0, nil, err
	}
	if _, err := c.ask("times"); err != nil {
		return 0, nil, err
	}
	cpu, err := c.spent(func() error {
		for i := range count {
			if _, err := c.ask("change 0 %d", i+1); err != nil {
				return err
			}
			want += int64(s.Proxies)
			if err := fleet.await(want); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, nil, err
	}
	answer, err := c.ask("times")
	return cpu, answer.Times, err
}

// convergence is how long it takes from a change to the ACKs of 100 proxies.
func (r *report) convergence() error {
	changes := 500
	if r.settings.quick {
		changes = 100
	}
	s := size{Proxies: 100, Services: r.settings.size.Services, Endpoints: r.settings.size.Endpoints, Names: r.settings.size.Names}
	note("convergence: %s", s)
	_, times, err := r.changes(s, changes)
	if err != nil {
		return err
	}
	if len(times) == 0 {
		return fmt.Errorf("no times of %d changes", changes)
	}
	slices.Sort(times)
	at := func(p float64) time.Duration { return times[min(int(p*float64(len(times))), len(times)-1)] }
	p99 := at(.99)
	verdict := "met"
	if p99 > 50*time.Millisecond {
		verdict = "MISSED"
	}
	r.printf("From a change to the ACK, 100 proxies, %d ACKs: p50 %.2f ms, p99 %.2f ms, most %.2f ms (goal: p99 at most 50 ms: %s).", len(times),
		at(.5).Seconds()*1e3, p99.Seconds()*1e3, times[len(times)-1].Seconds()*1e3, verdict)
	return nil
}
