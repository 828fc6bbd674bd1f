package podtest

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Build builds an image by a Containerfile from what is in a folder. Nothing is pulled.
func (n *Node) Build(tb kubetest.TB, image, containerfile, folder string, flags ...string) {
	tb.Helper()
	absolute, err := filepath.Abs(folder)
	if err != nil {
		tb.Fatalf("building %s: %v", image, err)
	}
	file, err := filepath.Abs(containerfile)
	if err != nil {
		tb.Fatalf("building %s: %v", image, err)
	}
	args := append([]string{"build", "--quiet", "--isolation=chroot", "--pull=never", "--tag", local(image), "--file", file}, flags...)
	n.must(tb, append(args, absolute)...)
}

// Programs makes an image FROM scratch of this machine's programs, with the libraries that they need and files by their path in the image. The
// programs are in /bin, and its PATH.
func (n *Node) Programs(tb kubetest.TB, image string, files map[string]string, programs ...string) {
	tb.Helper()
	folder, err := os.MkdirTemp(n.dir, "image")
	if err != nil {
		tb.Fatalf("building %s: %v", image, err)
	}
	root := filepath.Join(folder, "root")
	for _, dir := range []string{"bin", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			tb.Fatalf("building %s: %v", image, err)
		}
	}
	for _, name := range programs {
		path := redistest.Binary(tb, name)
		copyFile(tb, path, filepath.Join(root, "bin", filepath.Base(name)))
		for _, library := range libraries(path) {
			copyFile(tb, library, filepath.Join(root, library))
		}
	}
	for path, text := range files {
		to := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			tb.Fatalf("building %s: %v", image, err)
		}
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			tb.Fatalf("building %s: %v", image, err)
		}
		if err := os.Chmod(to, 0o644); err != nil {
			tb.Fatalf("building %s: %v", image, err)
		}
	}
	containerfile := filepath.Join(folder, "Containerfile")
	if err := os.WriteFile(containerfile, []byte("FROM scratch\nCOPY root /\nENV PATH=/bin\n"), 0o600); err != nil {
		tb.Fatalf("building %s: %v", image, err)
	}
	n.Build(tb, image, containerfile, folder)
	_ = os.RemoveAll(folder)
}

// libraries are the files that a program is linked with at run time; none for a static one, of which ldd says so.
func libraries(program string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	out, _ := exec.CommandContext(ctx, "ldd", program).Output()
	var found []string
	for line := range strings.Lines(string(out)) {
		for word := range strings.FieldsSeq(line) {
			if strings.HasPrefix(word, "/") {
				found = append(found, word)
			}
		}
	}
	return found
}

func copyFile(tb kubetest.TB, from, to string) {
	tb.Helper()
	err := func() error {
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, in); err != nil {
			_ = out.Close() // the copy's error says more
			return err
		}
		return out.Close()
	}()
	if err != nil {
		tb.Fatalf("copying %s: %v", from, err)
	}
}

// local is the name of an image as podman knows those that it built.
func local(image string) string {
	if strings.Contains(image, "/") {
		return image
	}
	return "localhost/" + image
}
