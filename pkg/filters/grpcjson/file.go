package grpcjson

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// filePeriod is how often a file of descriptors is looked at.
const filePeriod = 2 * time.Second

// file is a set of descriptors that may be replaced by another. It is for one
// goroutine at a time.
type file struct {
	conf *resource.GRPCJSONFilter
	seen os.FileInfo // when it was read last; nil: it was not there
}

// load reads the file, and compiles what is in it.
func (d *file) load() (*transcode.API, error) {
	d.seen, _ = os.Stat(d.conf.File) // before it is read: a change in between is found the next time
	set, err := readFile(d.conf.File)
	if err != nil {
		return nil, fmt.Errorf("descriptors of %q: %w", d.conf.File, err)
	}
	api, err := d.conf.Compile(set)
	if err != nil {
		return nil, fmt.Errorf("descriptors of %q: %w", d.conf.File, err)
	}
	return api, nil
}

// changed tells of a file that is another than the one that was read. One that is gone
// is none: what takes its place may be on its way.
func (d *file) changed() bool {
	now, err := os.Stat(d.conf.File)
	return err == nil && (d.seen == nil || !os.SameFile(now, d.seen) || !now.ModTime().Equal(d.seen.ModTime()) || now.Size() != d.seen.Size())
}

// readFile reads a set of descriptors, as far as one may be long.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, transcode.MaxDescriptors+1))
}

// follow serves by what the file becomes, until the context ends. Descriptors that
// cannot be used change nothing.
func (f *filter) follow(ctx context.Context, d *file) {
	t := time.NewTicker(filePeriod)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if !d.changed() {
			continue
		}
		api, err := d.load()
		if err != nil {
			f.log.Error("the old descriptors stay", "listener", f.listener, "error", err)
			continue
		}
		f.service.Store(f.counters.service(f.listener, api))
		f.log.Info("descriptors read again", "listener", f.listener, "file", d.conf.File)
	}
}

// beside runs something until Close.
func (f *filter) beside(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	f.stop = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		run(ctx)
	}()
}
