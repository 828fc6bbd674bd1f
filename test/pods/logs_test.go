package pods

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/podtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// nginxLogs has the sidecar of the example ship what nginx writes to the volume.
func nginxLogs(t *testing.T, w *world) {
	ns := w.labelled(t)
	w.apply(t, "examples/kubernetes/logs/nginx.yaml", "shop", ns)
	p := w.run(t, w.pod(t, ns, "nginx-logs"))
	p.AwaitUp(limit)
	nginxIsRead(t, p, "nginx-logs", "logs", ns)
}

// nginxIsRead makes a request, and waits until a container has a record of it.
func nginxIsRead(t *testing.T, p *podtest.Pod, name, container, namespace string) {
	t.Helper()
	url := "http://" + p.Address + ":8080/"
	redistest.Eventually(t, limit, "nginx", func() error { return visit(url) })
	redistest.Eventually(t, limit, "the record of a request", func() error {
		for line := range strings.Lines(p.Logs(container)) {
			var r struct {
				Timestamp  time.Time
				Attributes map[string]any
				Resource   map[string]string
			}
			if json.Unmarshal([]byte(line), &r) != nil || r.Attributes["http.response.status_code"] != 200.0 {
				continue
			}
			if r.Resource["k8s.pod.name"] != name || r.Resource["k8s.namespace.name"] != namespace || r.Resource["log.file.path"] != "/var/log/nginx/access.log" {
				return fmt.Errorf("it comes from %v", r.Resource)
			}
			return nil
		}
		return errors.New("there is none")
	})
}

func visit(url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
