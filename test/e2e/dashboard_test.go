package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/promtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// dashboard is what Grafana needs of one.
type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct{ List []variable }
	Panels        []panel
}

type variable struct {
	Name, Type, Query string
}

type panel struct {
	ID          int
	Title, Type string
	GridPos     struct{ H, W, X, Y int }
	Datasource  struct{ Type, UID string }
	Targets     []struct{ RefID, Expr, LegendFormat string }
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "manifests", "monitoring", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboardIsSound: panels have what Grafana asks for, none covers another,
// and variables that are used are defined.
func TestDashboardIsSound(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	if d.Title == "" || d.UID == "" || len(d.UID) > 40 || d.SchemaVersion < 36 || len(d.Panels) == 0 {
		t.Errorf("dashboard: %q, %q, schema %d, %d panels", d.Title, d.UID, d.SchemaVersion, len(d.Panels))
	}
	const width = 24
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" || p.Type == "" || p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" {
			t.Errorf("panel %+v", p)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.W < 1 || g.H < 1 || g.X+g.W > width {
			t.Errorf("%s: position %+v", p.Title, g)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other := cells[cell]; other != "" {
					t.Fatalf("%s covers %s", p.Title, other)
				}
				cells[cell] = p.Title
			}
		}
		refs := map[string]bool{}
		for _, target := range p.Targets {
			if target.RefID == "" || refs[target.RefID] || target.LegendFormat == "" {
				t.Errorf("%s: target %+v", p.Title, target)
			}
			refs[target.RefID] = true
			if left := expand(target.Expr, d.Templating.List); strings.Contains(left, "$") {
				t.Errorf("%s: a variable is not defined in %s", p.Title, left)
			}
		}
	}
}

// expand puts the values of "all" for variables, and a range for Grafana's own.
func expand(expression string, variables []variable) string {
	expression = strings.ReplaceAll(expression, "$__rate_interval", "10s")
	for _, v := range variables {
		expression = strings.ReplaceAll(expression, "$"+v.Name, ".*")
	}
	return expression
}

// TestDashboardShows: a real Prometheus that scrapes a proxy with sources of
// several kinds has an answer for each of the dashboard's questions.
func TestDashboardShows(t *testing.T) {
	t.Parallel()
	port, lines := redistest.Port(t), redistest.Port(t)
	app := appPages(t)
	document := adapterDocument(port,
		fmt.Sprintf("{name: nginx, nginxStubStatus: {uri: %q}}", statusPage(t)),
		fmt.Sprintf("{name: app, statsd: {tcp: %d, udp: %d}}", lines, lines),
		fmt.Sprintf(`{name: queues, json: {uri: "%s/stats", extract: [{name: queue_depth, path: "{.queues[*]}", labels: {queue: "{.name}"}, value: "{.depth}"}]}}`, app),
	)
	p := launch(t, nil, "run", "-f", filetest.Put(t, filepath.Join(t.TempDir(), "adapter.yaml"), document))
	p.awaitReady()
	awaitPage(t, "http://"+loopback(port)+"/metrics", []string{"nginx_up 1"})
	prometheus := promtest.Start(t, fmt.Sprintf(`global: {scrape_interval: 500ms}
scrape_configs:
- job_name: adapters
  static_configs: [{targets: ["%s"], labels: {namespace: shop, pod: web-0}}]
`, loopback(port)))
	d := readDashboard(t)
	for _, v := range d.Templating.List {
		if of, ok := strings.CutPrefix(v.Query, "label_values("); ok {
			of, label, _ := strings.Cut(strings.TrimSuffix(of, ")"), ", ")
			for _, sample := range replies(t, prometheus, lines, fmt.Sprintf("count by (%s) (%s)", label, expand(of, d.Templating.List))) {
				if sample.Metric[label] == "" {
					t.Errorf("the variable %s has a choice without a name", v.Name)
				}
			}
		}
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			replies(t, prometheus, lines, expand(target.Expr, d.Templating.List))
		}
	}
}

// replies waits until an expression has an answer, while some lines are lost.
func replies(t *testing.T, prometheus *promtest.Server, lines int, expression string) (samples []promtest.Sample) {
	t.Helper()
	redistest.Eventually(t, readyLimit, "an answer to "+expression, func() (err error) {
		sendLine(t, lines, "this is no line\nlogins:1|c\n")
		samples, err = prometheus.Query(expression)
		if err == nil && len(samples) == 0 {
			err = errors.New("nothing")
		}
		return err
	})
	return samples
}
