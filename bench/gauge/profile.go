package gauge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// profileSeconds is how long one profile lasts: long against the pause until the
// next begins, short against a shape's runs.
const profileSeconds = 5

// Serving waits until the proxy's admin port says that it is ready. With a folder
// for profiles, what the proxy spends its CPU on is kept there until it ends, in
// files for go tool pprof; a profile that its end interrupts is lost.
func Serving(ctx context.Context, proxy *Process, admin, profiles string) error {
	if err := proxy.Await(ctx, func(ctx context.Context) error { return Ready(ctx, admin) }); err != nil || profiles == "" {
		return err
	}
	if err := os.MkdirAll(profiles, 0o755); err != nil {
		return err
	}
	proxy.companions.Go(func() {
		for i := 0; ; i++ {
			file := filepath.Join(profiles, fmt.Sprintf("%s-%d-%d.pb.gz", filepath.Base(proxy.name), proxy.PID(), i))
			if keepProfile(ctx, admin, file) != nil {
				return
			}
		}
	})
	return nil
}

func keepProfile(ctx context.Context, admin, file string) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", admin, profileSeconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	profile, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s says %s", url, res.Status)
	}
	return os.WriteFile(file, profile, 0o644)
}
