package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestDefaultProfilePassesPromtool: an adapter without any rule, which shows the
// proxy's own metrics beside those of an app, has nothing that promtool criticises.
func TestDefaultProfilePassesPromtool(t *testing.T) {
	t.Parallel()
	port, lines := redistest.Port(t), redistest.Port(t)
	file := filetest.Put(t, t.TempDir()+"/adapter.yaml", adapterDocument(port,
		fmt.Sprintf("{name: app, statsd: {tcp: %d}}", lines), fmt.Sprintf(`{name: vars, expvar: {uri: "%s/debug/vars"}}`, appPages(t)),
		`{name: gone, nginxStubStatus: {uri: "http://127.0.0.1:1/"}}`,
	))
	p := launch(t, nil, "run", "-f", file)
	p.awaitReady()
	sendLine(t, lines, "logins_total:3|c\nload:2|g\nwait:20|ms|#path:x\n")
	page := awaitPage(t, "http://"+loopback(port)+"/metrics", []string{"logins_total 3", "app_logins 42", "nginx_up 0", `adapter_source_up{source="gone"} 0`})
	for _, family := range []string{"dragoman_process_start_time_seconds", "adapter_source_scrape_duration_seconds", "wait_sum"} {
		if !strings.Contains(page, "\n"+family) {
			t.Errorf("no %s in\n%s", family, page)
		}
	}
	cmd := exec.CommandContext(t.Context(), redistest.Binary(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(page)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}
