package tail_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/logs/tail"
)

// taker takes lines and counts what is lost.
type taker struct {
	marks []tail.Mark
	lines int
	lost  int64
}

func (k *taker) Line(s *tail.Segment, _ []byte, _ int64, _ bool) {
	k.lines++
	k.marks = append(k.marks, s.Mark())
}

func (k *taker) Lost(_ string, _ tail.Loss, bytes int64) { k.lost += bytes }

// tree is files that are followed, by a tailer after the other.
type tree struct {
	t         *testing.T
	dir       string
	taker     taker
	positions *tail.Positions
	tailer    *tail.Tailer
	now       time.Time
}

func newTree(t *testing.T) *tree {
	t.Helper()
	r := &tree{t: t, dir: t.TempDir(), now: time.Now()}
	r.begin()
	return r
}

// begin starts a process that follows the files.
func (r *tree) begin() {
	r.t.Helper()
	var err error
	if r.positions, err = tail.LoadPositions(filepath.Join(r.dir, "positions"), slog.New(slog.DiscardHandler)); err != nil {
		r.t.Fatal(err)
	}
	r.tailer = tail.New(tail.Options{
		Sources: []tail.Source{{Name: "app", Paths: []string{r.dir + "/*/app.log"}}},
		MaxLine: 1000, MaxFiles: 100, Poll: time.Second, Positions: r.positions, Log: slog.New(slog.DiscardHandler),
	}, &r.taker)
}

// end ends it.
func (r *tree) end() {
	r.t.Helper()
	r.tailer.Close()
	if err := r.positions.Save(); err != nil {
		r.t.Fatal(err)
	}
}

// pass looks at the files for so long.
func (r *tree) pass(hours int) {
	for range hours {
		r.now = r.now.Add(time.Hour)
		r.tailer.Round(r.now)
		r.positions.Delivered(r.taker.marks)
		r.taker.marks = nil
	}
}

func (r *tree) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *tree) write(name string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	r.must(os.MkdirAll(filepath.Dir(path), 0o700))
	r.must(os.WriteFile(path, fmt.Appendf(nil, "a line of %s\n", name), 0o600))
}

// known is how many files are in the file of positions.
func (r *tree) known() int {
	r.t.Helper()
	r.must(r.positions.Save())
	data, err := os.ReadFile(filepath.Join(r.dir, "positions"))
	r.must(err)
	return strings.Count(string(data), `"fingerprint"`)
}

const week = 7 * 24

// TestForgetWhatIsGone: files that were deleted with their folder while nobody looked
// are forgotten, once they have been looked for long enough.
func TestForgetWhatIsGone(t *testing.T) {
	t.Parallel()
	r := newTree(t)
	for i := range 10 {
		r.write(fmt.Sprintf("pod%d/app.log", i))
	}
	r.pass(2)
	if r.taker.lines != 10 || r.known() != 10 {
		t.Fatalf("%d lines, %d files", r.taker.lines, r.known())
	}
	r.end()
	for i := 1; i < 10; i++ {
		r.must(os.RemoveAll(filepath.Join(r.dir, fmt.Sprintf("pod%d", i))))
	}
	r.now = r.now.Add(1000 * time.Hour) // in which nobody looks
	r.begin()
	r.pass(week / 2)
	if n := r.known(); n != 10 {
		t.Errorf("%d files are known after half a week", n)
	}
	r.end()
	r.begin()
	defer r.end()
	r.pass(week/2 + 3)
	if n := r.known(); n != 1 {
		t.Errorf("%d files are known after a week", n)
	}
	if r.taker.lines != 10 || r.taker.lost != 0 {
		t.Errorf("%d lines, %d bytes lost", r.taker.lines, r.taker.lost)
	}
}

// TestKeepWhatReturns: a volume that is away for days, and a file under another name
// beside its path for weeks, are read on when they are back.
func TestKeepWhatReturns(t *testing.T) {
	t.Parallel()
	r := newTree(t)
	r.write("volume/app.log")
	r.write("monthly/app.log")
	r.pass(2)
	r.end()
	volume, monthly := filepath.Join(r.dir, "volume"), filepath.Join(r.dir, "monthly", "app.log")
	r.must(os.Rename(volume, filepath.Join(r.dir, ".away")))
	r.must(os.Rename(monthly, monthly+".1"))
	r.begin()
	r.pass(week - 5)
	r.must(os.Rename(filepath.Join(r.dir, ".away"), volume))
	r.pass(4 * week)
	r.must(os.Rename(monthly+".1", monthly))
	r.pass(2)
	r.end()
	if r.taker.lines != 2 || r.known() != 2 {
		t.Errorf("%d lines, %d files are known", r.taker.lines, r.known())
	}
}

// TestSweepOfMany: of files that come and go, those that have been missing for longest
// are forgotten where there are more than are looked for.
func TestSweepOfMany(t *testing.T) {
	t.Parallel()
	const all, most = 10_050, 10_000
	dir := t.TempDir()
	var text strings.Builder
	text.WriteString(`{"version":1,"files":[`)
	for i := range all {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"source":"app","path":"%s/%d/app.log","device":1,"inode":%d,"fingerprint":{"length":0,"hash":"0"},"offset":1,"size":1,"missing":%d}`,
			dir, i, i+1, i*int(time.Second))
	}
	text.WriteString(`]}`)
	if err := os.WriteFile(filepath.Join(dir, "positions"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &tree{t: t, dir: dir, now: time.Now()}
	r.begin()
	r.pass(2)
	r.end()
	saved, err := os.ReadFile(filepath.Join(dir, "positions"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(saved), `"inode"`); n != most {
		t.Errorf("%d positions, want %d", n, most)
	}
	for inode, want := range map[int]bool{1: true, most: true, most + 1: false, all: false} {
		if got := strings.Contains(string(saved), fmt.Sprintf(`"inode":%d,`, inode)); got != want {
			t.Errorf("position of inode %d: %v, want %v", inode, got, want)
		}
	}
}
