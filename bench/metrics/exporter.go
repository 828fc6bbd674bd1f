package main

import (
	"context"
	"fmt"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

// exporter is one of the two, running.
type exporter struct {
	name    string
	process *gauge.Process
	http    string
}

// Name is the exporter's.
func (s *exporter) Name() string { return s.name }

// run scrapes the two in rounds.
func (res *shapeResults) run(ctx context.Context, rounds int, servers []*exporter, path string, headers map[string]string, scrapes int) (err error) {
	res.Samples, err = gauge.Rounds(1, rounds, servers, func(s *exporter) (sample, error) {
		return s.measure(ctx, path, headers, scrapes)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", res.Shape, err)
	}
	return nil
}

// measure is what so many scrapes cost a server.
func (s *exporter) measure(ctx context.Context, path string, headers map[string]string, scrapes int) (sample, error) {
	start, err := settled(ctx, s.process.PID())
	if err != nil {
		return sample{}, err
	}
	for range scrapes {
		if _, err := get(ctx, s.http, path, headers); err != nil {
			return sample{}, err
		}
	}
	end, err := settled(ctx, s.process.PID())
	if err != nil {
		return sample{}, err
	}
	size, err := gauge.RSS(s.process.PID())
	return sample{CPU: float64((end - start).Microseconds()) / float64(scrapes), RSS: float64(size)}, err
}
