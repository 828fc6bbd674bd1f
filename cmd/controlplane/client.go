package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/dragoman-mesh/dragoman/cmd/internal/command"
	flags "github.com/dragoman-mesh/dragoman/cmd/internal/settings"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
)

func newProxies() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "proxies",
		Short: "Show the proxies of a running control plane",
		Long: "Show which proxies are connected to a running control plane, whether they run\n" +
			"what they are to run, and what they have refused and why.",
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := flags.ReadToAsk(cmd)
			if err != nil {
				return err
			}
			return (&settings{s}).proxies(cmd.Context(), cmd.OutOrStdout())
		},
	}
	cmd.Flags().String("config", "", "bootstrap `file` with the values of flags (YAML, TOML or JSON)")
	cmd.Flags().String("admin-address", "127.0.0.1:15014", "`address` of the control plane's admin server")
	cmd.Flags().StringP("output", "o", "table", "table or json")
	return cmd
}

// askTime bounds a question to a control plane.
const askTime = 15 * time.Second

func (s *settings) proxies(ctx context.Context, w io.Writer) error {
	output := s.Text("output")
	if output != "table" && output != "json" {
		return exit.Usage(fmt.Errorf("--output %q: want table or json", output))
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	body, err := ask(ctx, s.Text("admin-address"), "/proxies")
	if err != nil {
		return exit.Temporary(fmt.Errorf("asking the control plane: %w", err))
	}
	if output == "json" {
		_, err := w.Write(body)
		return err
	}
	var list []engine.Proxy
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("reading what the control plane says: %w", err)
	}
	return table(w, list, time.Now())
}

func ask(ctx context.Context, address, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := command.AdminClient().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	const most = 1 << 30 // 10,000 proxies with 50 objects each are 60 MiB
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return body, err
}

// table writes a line for each proxy, and one for each refusal below it.
func table(w io.Writer, list []engine.Proxy, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROXY\tSTATE\tENVIRONMENT\tVERSION\tLAST CONTACT\tCONNECTED\tADDRESS")
	for i := range list {
		p := &list[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Identity, p.State, environments(p), p.Version,
			ago(p.LastContact, now), ago(p.Since, now), p.Remote)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range list {
		for _, line := range reasons(&list[i]) {
			if _, err := fmt.Fprintf(w, "%s: %s\n", list[i].Identity, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// environments are those of a proxy's objects, each once.
func environments(p *engine.Proxy) string {
	var names []string
	seen := map[string]bool{}
	for _, e := range p.Environments {
		if e.Environment != "" && !seen[e.Environment] {
			seen[e.Environment] = true
			names = append(names, e.Environment)
		}
	}
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names, ",")
}

// reasons are why a proxy does not run all that is meant for it.
func reasons(p *engine.Proxy) []string {
	var lines []string
	for _, r := range p.Refusals {
		lines = append(lines, fmt.Sprintf("refused %s %s: %s", r.Type, strings.Join(r.Resources, ", "), r.Message))
	}
	for _, e := range p.Environments {
		if e.Reason != "" {
			lines = append(lines, fmt.Sprintf("does not get %s (%s): %s", e.Object, e.Reason, e.Message))
		}
	}
	return lines
}

func ago(t, now time.Time) string {
	return now.Sub(t).Truncate(time.Second).String()
}
