package gauge

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
)

// Ready asks the proxy's admin port.
func Ready(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/ready", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/ready says %s", res.Status)
	}
	return nil
}

// BuildProxy compiles cmd/proxy of the module that this benchmark belongs to, as
// `make build` does.
func BuildProxy(ctx context.Context, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-pgo=auto", "-tags", "grpcnotrace", "-o", out, "github.com/dragoman-mesh/dragoman/cmd/proxy")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building cmd/proxy: %w", err)
	}
	return nil
}
