package pods

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/podtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// workQueues runs the pods of two Jobs that share a Redis stream and a folder. Workers and their apps are killed while they work: each item is done, none is
// lost, and the pods end.
func workQueues(t *testing.T, w *world) {
	const items = 300
	w.buildThumbnailer(t)
	for file, fill := range map[string]func(t *testing.T, node *redistest.Node, namespace, item string){
		"job.yaml": func(_ *testing.T, node *redistest.Node, _, item string) { node.Do("XADD", "images", "*", "data", item) },
		"folder.yaml": func(t *testing.T, _ *redistest.Node, namespace, item string) {
			t.Helper()
			file := filepath.Join(w.node.Claim(t, namespace, "images"), item)
			const user = 65532 // of the example's pods
			if err := cmp.Or(os.WriteFile(file, []byte(item), 0o600), os.Chown(file, user, user)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			t.Parallel()
			ns := w.Namespace(t, "pod-security.kubernetes.io/enforce", "restricted")
			node, host := redis(t, "queue")
			for i := range items - 1 {
				fill(t, node, ns, fmt.Sprintf("cat-%d.png", i))
			}
			fill(t, node, ns, "last")
			template := w.apply(t, "examples/kubernetes/work-queue/"+file, "shop", ns)[0]
			template.Spec.InitContainers[0].Command = []string{"thumbnailer", "done"}
			queue := &template.Spec.Containers[0]
			queue.Args = append(queue.Args, "--term=5s") // of those that are killed
			var pods []*podtest.Pod
			killed := func(i int) string { return []string{"queue", "app"}[i%2] }
			for i := range 4 {
				p := w.runWith(t, w.make(t, ns, fmt.Sprintf("images-%d", i), template), map[string]string{"redis": host})
				pods = append(pods, p)
			}
			for i, p := range pods {
				p.AwaitUp(limit)
				awaitDone(t, node, (i+1)*items/8)
				p.Signal(killed(i), syscall.SIGKILL)
			}
			awaitDone(t, node, items-1)
			for i, p := range pods {
				redistest.Eventually(t, limit, "what was killed to run again", func() error {
					if exits, pid := p.Exits(killed(i)), p.Pid(killed(i)); len(exits) == 0 || pid == "0" {
						return fmt.Errorf("%s of pod %d has ended with %v, and its process is %s", killed(i), i, exits, pid)
					}
					return nil
				})
			}
			node.Do("SET", "go", "1")
			for i, p := range pods {
				if phase := p.AwaitEnd(limit); phase != corev1.PodSucceeded {
					t.Errorf("pod %d is %s", i, phase)
				}
				if codes := p.Exits(killed(i)); len(codes) < 2 || codes[0] != 137 {
					t.Errorf("exit codes of what was killed in pod %d: %v", i, codes)
				}
			}
			awaitDone(t, node, items)
			tally(t, node, items)
		})
	}
}

// awaitDone waits until so many items have been done.
func awaitDone(t *testing.T, node *redistest.Node, items int) {
	t.Helper()
	redistest.Eventually(t, limit, fmt.Sprintf("%d items to be done", items), func() error {
		if n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(node.Do("HLEN", "done"), ":"))); err != nil || n < items {
			return fmt.Errorf("it is %d, %w", n, err)
		}
		return nil
	})
}

// tally counts what was done twice, which killed workers cannot help, and finds what was put aside.
func tally(t *testing.T, node *redistest.Node, items int) {
	t.Helper()
	if got := node.Do("XLEN", "images:dead"); got != ":0\r\n" {
		t.Errorf("items that were given up: %s", got)
	}
	done := 0
	for line := range strings.Lines(node.Do("HVALS", "done")) {
		if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			done += n
		}
	}
	t.Logf("%d items, %d done more than once", items, done-items)
}

// buildThumbnailer makes the image of the example's app.
func (w *world) buildThumbnailer(t *testing.T) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "thumbnailer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/thumbnailer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	w.node.Programs(t, "thumbnailer:1", nil, program)
}
