package http_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestAccessLog writes a line for each request, as text and as JSON.
func TestAccessLog(t *testing.T) { overEngines(t, testAccessLog) }

func testAccessLog(t *testing.T, e engine) {
	format := func(s string) resource.Format {
		f, err := resource.ParseFormat(s)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	dir := t.TempDir()
	text, object := filepath.Join(dir, "text"), filepath.Join(dir, "json")
	m := routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
	  {"name": "said", "match": {"prefix": "/"}, "direct_response": {"status": 418, "body": {"inline_string": "short"}}}]}]}`))
	m.AccessLogs = []resource.AccessLog{
		{Path: text, Text: format("%REQ(:METHOD)% %REQ(X-NONE?:PATH)% %RESPONSE_CODE% %BYTES_SENT% %UPSTREAM_HOST% %REQ(USER-AGENT):3% 100%%\n")},
		{Path: object, JSON: []resource.LogField{
			{Name: "code", Value: format("%RESPONSE_CODE%")},
			{Name: "route", Value: format("%ROUTE_NAME%")},
			{Name: "agent", Value: format("<%REQ(USER-AGENT)%>")},
			{Name: "upstream", Value: format("%UPSTREAM_HOST%")},
		}},
	}
	h := e.proxy(t, m)
	do(t, "GET", h.url("/a?b"), nil, "User-Agent", "a\"gent")
	var line []byte
	redistest.Eventually(t, 20*time.Second, "the lines to be written", func() error {
		var err error
		line, err = os.ReadFile(object)
		if err != nil || len(line) == 0 {
			return os.ErrNotExist
		}
		return nil
	})
	redistest.Eventually(t, 20*time.Second, "the text to be written", func() error {
		got, err := os.ReadFile(text)
		if err == nil && string(got) != "GET /a?b 418 5 - a\"g 100%\n" {
			return fmt.Errorf("it is %q", got)
		}
		return err
	})
	var got map[string]any
	if err := json.Unmarshal(line, &got); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	want := map[string]any{"code": 418.0, "route": "said", "agent": "<a\"gent>", "upstream": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
