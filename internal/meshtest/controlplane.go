// Package meshtest runs this project's own programs for tests.
package meshtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// limit bounds what is waited for.
const limit = 30 * time.Second

// ControlPlane is a running process.
type ControlPlane struct {
	*redistest.Process
	tb redistest.TB
	// XDS and Admin are addresses on 127.0.0.1.
	XDS, Admin string
	// CAFile and CA are what proxies are to trust; of a control plane without
	// Kubernetes.
	CAFile string
	CA     []byte
}

// StartControlPlane runs `controlplane run` with further arguments on ports of
// its own, keeps the authority in a folder (""; with Kubernetes none is needed),
// and waits until it is ready.
func StartControlPlane(tb redistest.TB, trustDir string, args ...string) *ControlPlane {
	tb.Helper()
	c := LaunchControlPlane(tb, trustDir, args...)
	c.AwaitReady()
	return c
}

// LaunchControlPlane does not wait.
func LaunchControlPlane(tb redistest.TB, trustDir string, args ...string) *ControlPlane {
	tb.Helper()
	all := append([]string{"run", "--xds-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--log-format", "json"}, args...)
	if trustDir != "" {
		all = append(all, "--trust-dir", trustDir)
	}
	c := &ControlPlane{tb: tb}
	if trustDir != "" {
		c.CAFile = filepath.Join(trustDir, "ca.crt")
	}
	c.Process = redistest.Run(tb, Binary(tb, "controlplane"), all...)
	return c
}

var serving = regexp.MustCompile(`"msg":"serving","xds":"([^"]+)","admin":"([^"]+)"`)

// AwaitReady waits until proxies are served.
func (c *ControlPlane) AwaitReady() {
	c.tb.Helper()
	redistest.Eventually(c.tb, limit, "the control plane to be ready", func() error {
		select {
		case <-c.Done():
			c.tb.Fatalf("the control plane ended with exit code %d:\n%s", c.ExitCode(), c.Output())
		default:
		}
		m := serving.FindSubmatch(c.Output())
		if m == nil {
			return fmt.Errorf("it does not serve:\n%s", c.Output())
		}
		c.XDS, c.Admin = string(m[1]), string(m[2])
		code, body, err := c.Get("/ready")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("/ready: %d %s", code, body)
		}
		return err
	})
	if c.CAFile != "" {
		var err error
		if c.CA, err = os.ReadFile(c.CAFile); err != nil {
			c.tb.Fatalf("reading what is to be trusted: %v", err)
		}
	}
}

// Get asks the admin server.
func (c *ControlPlane) Get(path string) (code int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Admin+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}
