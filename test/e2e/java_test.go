package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// javaClient is a program in java/ and the library that it is about.
type javaClient struct{ program, library string }

// TestDatabaseJavaClients runs the drivers of Java.
func TestDatabaseJavaClients(t *testing.T) {
	t.Parallel()
	for name, kind := range databaseKinds() {
		if kind.java.program == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDatabases(t, kind, "")
			guarded := d.guard(t)
			out, stderr := runJava(t, kind.java, "127.0.0.1", strconv.Itoa(d.port), strconv.Itoa(guarded))
			if !strings.HasSuffix(out, "all passed\n") {
				t.Errorf("%s:\n%s%s", kind.java.program, out, stderr)
			}
		})
	}
}

// runJava runs a program of one source file, which java compiles in memory.
func runJava(t *testing.T, c javaClient, args ...string) (stdout, stderr string) {
	t.Helper()
	if _, err := os.Stat(c.library); err != nil {
		t.Fatalf("%v: hack/install-test-servers.sh installs it", err)
	}
	return runClient(t, "", "java", append([]string{"-Xmx1g", "-cp", c.library, filepath.Join("java", c.program)}, args...)...)
}

// guard puts another proxy in front of dev's server, whose apps have to be app with the password "right", and returns its port.
func (d *databases) guard(t *testing.T) int {
	t.Helper()
	port := redistest.Port(t)
	file := filetest.Put(t, filepath.Join(t.TempDir(), "guarded.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: guarded}
spec:
  protocol: %s
  listen: {port: %d}
  %s: {appAuth: {username: app, passwordEnv: APP_SECRET}}
  environments:
    dev: {address: %q, database: app_dev, credentials: {username: %s, passwordEnv: FIRST_SECRET}}
  defaultEnvironment: dev
`, d.protocol, port, d.protocol, d.dev.Addr(), d.devUser))
	launch(t, []string{"APP_SECRET=right", "FIRST_SECRET=" + dbtest.Password}, "run", "-f", file).awaitReady()
	return port
}
