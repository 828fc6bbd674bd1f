package floors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/dragoman-mesh/dragoman/"

// testsOnly is the floor of what is there for tests and benchmarks: it may import everything, and only its like may import it.
const testsOnly = 99

// floors is the table of ARCHITECTURE.md. The longest prefix wins; a prefix that ends in a slash means what lies below that folder. A
// package may import its own floor and those beneath it.
var floors = map[string]int{
	// 0, pure: no net, os, log, clock. What the bytes and the documents mean.
	"api":                        0,
	"pkg/redisproto":             0,
	"pkg/pgproto":                0,
	"pkg/mysqlproto":             0,
	"pkg/httpproto":              0,
	"pkg/statsdproto":            0,
	"pkg/exit":                   0,
	"pkg/linked":                 0,
	"pkg/mesh":                   0,
	"pkg/placeholder":            0,
	"pkg/problem":                0,
	"pkg/schema":                 0,
	"pkg/twemproxy":              0,
	"pkg/upstream/keyhash":       0,
	"pkg/upstream/distribution":  0,
	"pkg/metrics/statsd/mapping": 0,
	"pkg/transform":              0,
	"pkg/logs/record":            0,
	"pkg/logs/parse":             0,
	// 1, contracts: what a filter is, and who drives it.
	"pkg/filters":         1,
	"pkg/metrics":         1,
	"pkg/metrics/sockets": 1,
	"pkg/netloop":         1,
	"pkg/traces":          1,
	// 2, resources: what is to run.
	"pkg/xds/resource": 2,
	"pkg/xds/snapshot": 2,
	"pkg/translate":    2,
	"pkg/inventory":    2,
	// 3, running things.
	"pkg/filters/":   3,
	"pkg/metrics/":   3,
	"pkg/logs":       3,
	"pkg/bodies":     3,
	"pkg/upstream":   3,
	"pkg/database":   3,
	"pkg/sqlroute":   3,
	"pkg/election":   3,
	"pkg/workqueue":  3,
	"pkg/capture":    3,
	"pkg/xds/client": 3,
	"pkg/xds/server": 3,
	"pkg/kube":       3,
	// 4, what puts filters together.
	"pkg/listener":         4,
	"pkg/filters/standard": 4,
	// 5, the two roots.
	"pkg/proxy":        5,
	"pkg/controlplane": 5,
	// 6, programs.
	"cmd": 6,

	"internal": testsOnly,
	"test":     testsOnly,
	"bench":    testsOnly,
	"examples": testsOnly,
	"hack":     testsOnly,
}

// impure is what floor 0 must not import: I/O and logging. Whether it reads the clock is the linter's to find (forbidigo).
var impure = []string{"net", "net/http", "net/rpc", "net/smtp", "net/textproto", "os", "os/exec", "os/signal", "os/user", "log", "log/slog", "log/syslog", "syscall"}

// kubernetes may be known by the control plane only, and by what tests it.
var (
	kubernetes      = []string{"k8s.io", "sigs.k8s.io"}
	kubernetesUsers = []string{"pkg/kube", "pkg/controlplane", "cmd/controlplane", "internal/kubetest", "internal/podtest"}
)

// notInProxy must not be linked into the proxy.
var notInProxy = append([]string{
	"testing", "golang.org/x/tools", "github.com/google/go-cmp", "github.com/redis/go-redis", "github.com/redis/rueidis", module + "internal/redistest", module + "internal/kubetest", module + "internal/podtest", module + "internal/dbtest", module + "internal/filtertest", module + "internal/nettest", module + "internal/tooltest",
}, kubernetes...)

// listed is what this test wants to know of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	for _, problem := range check(list(t, "./...")) {
		t.Error(problem)
	}
}

func TestProxyIsLean(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./cmd/proxy") {
		for _, dep := range p.Deps {
			if under(dep, notInProxy) {
				t.Errorf("%s is linked with %s", p.ImportPath, dep)
			}
		}
	}
}

// TestCheck shows that each rule finds what it is there for.
func TestCheck(t *testing.T) {
	t.Parallel()
	pkg := func(path string, imports ...string) listed {
		return listed{ImportPath: module + path, Imports: imports}
	}
	tests := []struct {
		name string
		pkg  listed
		want []string
	}{
		{"sound", pkg("pkg/proxy", module+"pkg/listener", "os", "net"), nil},
		{"own floor", pkg("pkg/xds/snapshot", module+"pkg/xds/resource"), nil},
		{"pure with netip", pkg("pkg/redisproto", "net/netip", "time"), nil},
		{"upwards", pkg("pkg/netloop", module+"pkg/upstream"), []string{"pkg/netloop (floor 1) imports pkg/upstream (floor 3)"}},
		{"contract and filter differ", pkg("pkg/filters", module+"pkg/filters/redis"), []string{"pkg/filters (floor 1) imports pkg/filters/redis (floor 3)"}},
		{"filter imports filter", pkg("pkg/filters/tcp", module+"pkg/filters/redis"), []string{"pkg/filters/tcp imports another filter, pkg/filters/redis"}},
		{"filter imports its own parts", pkg("pkg/filters/redis", module+"pkg/filters/redis/merge"), nil},
		{"impure", pkg("pkg/redisproto", "net"), []string{"pkg/redisproto is pure (floor 0) and imports net"}},
		{"homeless", pkg("pkg/util"), []string{"pkg/util has no floor: add it to the table in internal/floors"}},
		{"test code in product", pkg("pkg/proxy", module+"internal/redistest"), []string{"pkg/proxy (floor 5) imports internal/redistest, which is for tests"}},
		{"kubernetes", pkg("pkg/proxy", "k8s.io/api/core/v1"), []string{"pkg/proxy imports k8s.io/api/core/v1: only the control plane may"}},
		{"kubernetes in place", pkg("pkg/kube", "k8s.io/api/core/v1"), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, check([]listed{tt.pkg})); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// check returns what is wrong with the imports of the given packages, one line each.
func check(pkgs []listed) []string {
	var problems []string
	for _, p := range pkgs {
		path := strings.TrimPrefix(p.ImportPath, module)
		floor, ok := floorOf(path)
		if !ok {
			problems = append(problems, path+" has no floor: add it to the table in internal/floors")
			continue
		}
		for _, imported := range p.Imports {
			if problem := checkImport(path, floor, imported); problem != "" {
				problems = append(problems, problem)
			}
		}
	}
	return problems
}

// checkImport returns what is wrong with one import, empty for nothing.
func checkImport(path string, floor int, imported string) string {
	target, own := strings.CutPrefix(imported, module)
	if !own {
		switch {
		case floor == 0 && slices.Contains(impure, imported):
			return fmt.Sprintf("%s is pure (floor 0) and imports %s", path, imported)
		case under(imported, kubernetes) && !under(path, kubernetesUsers):
			return fmt.Sprintf("%s imports %s: only the control plane may", path, imported)
		}
		return ""
	}
	targetFloor, _ := floorOf(target) // a homeless package is reported as itself
	switch {
	case targetFloor == testsOnly && floor != testsOnly:
		return fmt.Sprintf("%s (floor %d) imports %s, which is for tests", path, floor, target)
	case targetFloor > floor:
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d)", path, floor, target, targetFloor)
	case floor == 3 && filterName(path) != "" && filterName(target) != "" && filterName(path) != filterName(target):
		return fmt.Sprintf("%s imports another filter, %s", path, target)
	}
	return ""
}

// floorOf returns the floor of a package, given without the module's path.
func floorOf(path string) (int, bool) {
	best, floor := "", 0
	for prefix, f := range floors {
		matches := path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
		if strings.HasSuffix(prefix, "/") {
			matches = strings.HasPrefix(path, prefix)
		}
		if matches && len(prefix) > len(best) {
			best, floor = prefix, f
		}
	}
	return floor, best != ""
}

// filterName returns the filter to which a package belongs, empty for none.
func filterName(path string) string {
	rest, ok := strings.CutPrefix(path, "pkg/filters/")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}

// under tells whether path is one of the roots or lies below one.
func under(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return path == root || strings.HasPrefix(path, root+"/") })
}

// list asks go list for packages of this module, without their tests.
func list(t *testing.T, pattern string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Imports,Deps", pattern)
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
	}
	var pkgs []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		if err != nil {
			t.Fatalf("%v: %v", cmd, err)
		}
		pkgs = append(pkgs, p)
	}
}
