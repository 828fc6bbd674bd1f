package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

// errNotReady is an answer of /ready other than 200.
var errNotReady = errors.New("not ready")

// adminClient asks a running proxy's admin server.
type adminClient struct {
	base string
	http *http.Client
}

func newAdminClient(s *settings) *adminClient {
	return &adminClient{"http://" + s.Text("admin-address"), command.AdminClient()}
}

func (c *adminClient) get(ctx context.Context, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, http.NoBody)
	if err != nil {
		return 0, nil, exit.Usage(err)
	}
	resp, err := c.http.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return 0, nil, fmt.Errorf("%w (is it running? --admin-address says where)", err)
	}
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	const most = 64 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	return resp.StatusCode, body, err
}

func (c *adminClient) ready(ctx context.Context) error {
	code, body, err := c.get(ctx, "/ready")
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("%w: %s", errNotReady, strings.TrimSpace(string(body)))
	}
	return nil
}

func newWait() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until a running proxy is ready",
		Args:  command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := settingsToAsk(cmd)
			if err != nil {
				return err
			}
			limit, err := s.Duration("timeout")
			if err != nil {
				return exit.Usage(err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			return newAdminClient(s).wait(ctx)
		},
	}
	configFlag(cmd.Flags())
	cmd.Flags().String("admin-address", "127.0.0.1:9901", "`address` of the proxy's admin server")
	cmd.Flags().String("timeout", "1m", "how long to wait")
	return cmd
}

func (c *adminClient) wait(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var why error // the last that was not for lack of time
	for {
		err := c.ready(ctx)
		if err == nil {
			return nil
		}
		if why == nil || ctx.Err() == nil {
			why = err
		}
		select {
		case <-ctx.Done():
			return exit.Temporary(fmt.Errorf("waiting for the proxy: %w", why))
		case <-tick.C:
		}
	}
}

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running proxy does",
		Args:  command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := settingsToAsk(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
			defer cancel()
			return newAdminClient(s).status(ctx, cmd.OutOrStdout())
		},
	}
	configFlag(cmd.Flags())
	cmd.Flags().String("admin-address", "127.0.0.1:9901", "`address` of the proxy's admin server")
	return cmd
}

// report is what status reads of /config_dump, /listeners and /clusters.
type report struct {
	config struct {
		Version string
		Refused *struct{ Errors []string }
		Plane   *planeReport `json:"controlPlane"`
	}
	listeners struct {
		List []struct {
			Name, Address, Environment, EnvironmentSource string
			Connections                                   int
		} `json:"listener_statuses"`
	}
	clusters struct {
		List []struct {
			Name      string
			Endpoints []struct{ Healthy bool } `json:"host_statuses"`
		} `json:"cluster_statuses"`
	}
}

func (c *adminClient) status(ctx context.Context, w io.Writer) error {
	ready := c.ready(ctx)
	if ready != nil && !errors.Is(ready, errNotReady) {
		return exit.Temporary(fmt.Errorf("asking the proxy: %w", ready))
	}
	var r report
	for path, into := range map[string]any{
		"/config_dump": &r.config, "/listeners?format=json": &r.listeners, "/clusters?format=json": &r.clusters,
	} {
		_, body, err := c.get(ctx, path)
		if err != nil {
			return exit.Temporary(fmt.Errorf("asking the proxy: %w", err))
		}
		if err := json.Unmarshal(body, into); err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
	}
	r.write(w, ready)
	if ready != nil {
		return exit.Temporary(command.ErrSilent)
	}
	return nil
}

func (r *report) write(w io.Writer, ready error) {
	state := "ready"
	if ready != nil {
		state = ready.Error()
	}
	fmt.Fprintf(w, "%s, configuration %s\n", state, r.config.Version)
	if r.config.Plane != nil {
		r.config.Plane.write(w, time.Now())
	}
	for _, l := range r.listeners.List {
		fmt.Fprintf(w, "listener %s on %s: %d connections", l.Name, l.Address, l.Connections)
		if l.Environment != "" {
			fmt.Fprintf(w, ", environment %s (%s)", l.Environment, l.EnvironmentSource)
		}
		fmt.Fprintln(w)
	}
	if len(r.listeners.List) == 0 && ready == nil && r.config.Plane != nil {
		fmt.Fprintln(w, "no listener: the control plane has nothing for this proxy; the status of its objects, and `controlplane proxies`, say why")
	}
	for _, c := range r.clusters.List {
		healthy := 0
		for _, e := range c.Endpoints {
			if e.Healthy {
				healthy++
			}
		}
		fmt.Fprintf(w, "cluster %s: %d of %d endpoints healthy\n", c.Name, healthy, len(c.Endpoints))
	}
	if r.config.Refused != nil {
		fmt.Fprintln(w, "the last change of the configuration was refused:")
		for _, e := range r.config.Refused.Errors {
			fmt.Fprintf(w, "  %s\n", e)
		}
	}
}
