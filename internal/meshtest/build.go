package meshtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Build is a way to compile the programs of this module. Each is compiled once for
// the process, and gone with Cleanup.
type Build struct {
	env, flags []string

	mu    sync.Mutex
	dir   string           // guarded by mu
	built map[string]error // by program, guarded by mu
}

// The builds: as Go does it, with the race detector, and as programs are delivered:
// only these are worth the time that optimizing by a profile takes.
var (
	Plain     = &Build{flags: []string{"-pgo=off"}}
	Checked   = &Build{flags: []string{"-pgo=off", "-race"}}
	Delivered = &Build{flags: []string{"-trimpath", "-pgo=auto", "-tags", "grpcnotrace"}, env: []string{"CGO_ENABLED=0"}}
)

// Binary is that of Plain.
func Binary(tb redistest.TB, name string) string {
	tb.Helper()
	return Plain.Binary(tb, name)
}

// Binary compiles a program, such as controlplane, and gives its path.
func (b *Build) Binary(tb redistest.TB, name string) string {
	tb.Helper()
	path, err := b.binary(name)
	if err != nil {
		tb.Fatalf("building %s: %v", name, err)
	}
	return path
}

// Prepare compiles programs ahead. Binary tells what went wrong.
func (b *Build) Prepare(names ...string) {
	for _, name := range names {
		_, _ = b.binary(name)
	}
}

func (b *Build) binary(name string) (path string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err, ok := b.built[name]
	if !ok {
		err = b.compileLocked(name)
		if b.built == nil {
			b.built = map[string]error{}
		}
		b.built[name] = err
	}
	return filepath.Join(b.dir, name), err
}

func (b *Build) compileLocked(name string) error {
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "meshtest")
		if err != nil {
			return err
		}
		b.dir = dir
	}
	args := append([]string{"build", "-o", b.dir}, b.flags...)
	cmd := exec.Command("go", append(args, "github.com/dragoman-mesh/dragoman/cmd/"+name)...)
	cmd.Env = append(os.Environ(), b.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// Cleanup removes what was compiled. To be called at the end of a TestMain.
func Cleanup() {
	for _, b := range []*Build{Plain, Checked, Delivered} {
		b.mu.Lock()
		if b.dir != "" {
			_ = os.RemoveAll(b.dir)
		}
		b.mu.Unlock()
	}
}
