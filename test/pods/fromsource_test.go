package pods

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fromSource builds the images by the Containerfiles' stage from source, in a clone and without a network. In place of the image of Go it has this machine's Go and the
// few programs that make needs: what comes out is the binary and nothing else, and the same to the last byte as make build's.
func fromSource(t *testing.T, w *world) {
	w.node.Programs(t, "programs:1", map[string]string{"/etc/passwd": "root:x:0:0::/root:/bin/sh\n"}, "sh", "make", "git", "mkdir", "cksum", "cut")
	base, clone, bin := t.TempDir(), filepath.Join(t.TempDir(), "clone"), t.TempDir()
	command := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		var stderr bytes.Buffer
		cmd.Dir, cmd.Stderr = dir, &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %v\n%s", cmd, err, stderr.Bytes())
		}
		return strings.TrimSpace(string(out))
	}
	text := "FROM programs:1\nENV PATH=/bin:/usr/local/go/bin GOROOT=/usr/local/go GOTOOLCHAIN=local GOPROXY=off GOMODCACHE=/modules GOCACHE=/cache HOME=/root\n"
	if err := os.WriteFile(filepath.Join(base, "Containerfile"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.node.Build(t, "golang:1.26", filepath.Join(base, "Containerfile"), base)
	root := command(".", "git", "rev-parse", "--show-toplevel")
	command(".", "git", "clone", "--quiet", "--no-checkout", root, clone)
	command(clone, "git", "checkout", "--quiet", "--detach", command(root, "git", "rev-parse", "HEAD"))
	command(clone, "make", "build", "BIN="+bin)

	for name, file := range map[string]string{"proxy": "manifests/Containerfile", "controlplane": "manifests/controlplane/Containerfile"} {
		image := t.TempDir()
		flags := []string{"--output", "type=local,dest=" + image}
		for variable, at := range map[string]string{"GOROOT": "/usr/local/go:ro", "GOMODCACHE": "/modules", "GOCACHE": "/cache"} {
			flags = append(flags, "--volume", fmt.Sprintf("%s:%s", command(root, "go", "env", variable), at))
		}
		w.node.Build(t, name+"-from-source:dev", filepath.Join(clone, file), clone, flags...)
		got, err := os.ReadFile(filepath.Join(image, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(bin, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Errorf("%s: the binary of the image, %d bytes, is not that of make build, %d bytes", name, len(got), len(want))
		}
		files, err := os.ReadDir(image)
		if err != nil || len(files) != 1 {
			t.Errorf("%s: the image has %v, %v", name, files, err)
		}
	}
}
