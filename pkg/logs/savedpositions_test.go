package logs_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestStartAt: what a file has when its source is first seen is left out if that
// is wanted; what comes later never is.
func TestStartAt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.Sources[0].FromEnd = true
	r.config.Sources[0].Paths = append(r.config.Sources[0].Paths, r.path("late.log"))
	r.append("app.log", "old\n")
	r.start()
	redistest.Eventually(t, limit, "positions", func() error {
		_, err := os.Stat(r.config.Positions)
		return err
	})
	r.write("late.log", 1)
	r.await(1)
	r.write("app.log", 1)
	r.await(2)
	r.stop()
	r.write("app.log", 1)
	r.start()
	r.want()
}

// TestCorruptPositions: the file is put aside, and the sources begin as for the
// first time.
func TestCorruptPositions(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty": "", "garbage": "\x00\xff", "cut": `{"version":1,"files":[{"sou`, "another version": `{"version":2}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if err := os.WriteFile(r.config.Positions, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r.write("app.log", 3)
			r.start()
			r.want()
			if _, err := os.Stat(r.config.Positions + ".corrupt"); err != nil {
				t.Error(err)
			}
			if n := value(r.meters.PositionErrors); n != 1 {
				t.Errorf("%v errors are counted", n)
			}
			r.restart()
			r.write("app.log", 1)
			r.want()
		})
	}
}

// TestUnwritablePositions: as when the disk is full. Shipping goes on, and so does
// saving as soon as it can.
func TestUnwritablePositions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	folder := r.path("folder")
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // a file in the place of a folder
		t.Fatal(err)
	}
	r.config.Positions = folder + "/positions"
	r.write("app.log", 10)
	r.start()
	r.want()
	redistest.Eventually(t, limit, "an error of saving", func() error {
		if value(r.meters.PositionErrors) < 3 {
			return errors.New("none yet")
		}
		return nil
	})
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, limit, "positions", func() error {
		_, err := os.Stat(r.config.Positions)
		return err
	})
	r.restart()
	r.write("app.log", 1)
	r.want()
}

// TestOtherPositions: who names another file of positions and has that taken while
// files are followed gets no line twice, also after the next start.
func TestOtherPositions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write("app.log", 100)
	r.start()
	r.want()
	before, config := r.line, *r.config
	config.Positions = r.path("others")
	r.config = &config
	next := r.build()
	before.Stop()
	next.Start(before)
	r.line = next
	r.write("app.log", 10)
	r.want()
	r.restart()
	r.write("app.log", 1)
	r.want()
}

// TestToldOnce: what keeps a file from being followed is said, and not again at each
// look.
func TestToldOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, said string
		wrong      func(r *rig)
	}{
		{"a file that cannot be read", "a file cannot be read", func(r *rig) {
			r.config.Sources[0].Paths = append(r.config.Sources[0].Paths, "/proc/self/mem") // its beginning is no memory
		}},
		{"too many files", "more files than may be followed", func(r *rig) {
			r.config.Sources[0].Paths = append(r.config.Sources[0].Paths, r.path("b.log"))
			r.config.MaxFiles = 1
			r.append("b.log", "second\n")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			var said output
			r.log = slog.New(slog.NewTextHandler(&said, nil))
			tt.wrong(r)
			r.write("app.log", 1)
			r.start()
			for range 10 {
				r.append("other", "") // makes it look
				r.write("app.log", 1)
				r.want()
				r.remove("other")
			}
			r.stop()
			said.mu.Lock()
			defer said.mu.Unlock()
			if n := strings.Count(said.data.String(), tt.said); n != 1 {
				t.Errorf("it is said %d times:\n%s", n, said.data.String())
			}
		})
	}
}

// TestLost: what was deleted while nobody was there is counted.
func TestLost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.BatchRecords = 10
	r.out.set(errors.New("not now"))
	r.write("app.log", 1000)
	r.start()
	redistest.Eventually(t, limit, "lag", func() error {
		if r.line.Lag()["app"] == 0 || value(r.meters.Retries) < 1 {
			return errors.New("none")
		}
		return nil
	})
	r.stop()
	r.remove("app.log")
	r.out.set(nil)
	r.append("app.log", "new\n")
	r.start()
	r.await(1)
	if n := value(r.meters.Lost.WithLabelValues("app", "gone")) + value(r.meters.Lost.WithLabelValues("app", "truncated")); n < 40_000 {
		t.Errorf("%v bytes are said to be lost", n)
	}
}
