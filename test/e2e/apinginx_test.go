package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// apiNginx is nginx as an app, for a folder and a port: it answers a form with the form itself, and knows one order.
const apiNginx = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  gzip on;
  gzip_proxied any;
  gzip_min_length 1;
  gzip_types application/xml;
  server {
    listen 127.0.0.1:%[2]d;
    location = /form {
      proxy_pass http://127.0.0.1:%[2]d/echo;
      proxy_set_header X-Type $content_type;
      proxy_set_header X-Body $request_body;
    }
    location = /echo {
      default_type application/x-www-form-urlencoded;
      return 200 "$http_x_body&type=$http_x_type";
    }
    location = /orders.xml {
      default_type application/xml;
      return 200 '<?xml version="1.0"?><order state="open"><id>%[3]s</id><item>a &amp; b</item><item>c</item></order>';
    }
  }
}
`

// TestAPINginx: nginx knows forms and XML, its clients JSON.
func TestAPINginx(t *testing.T) {
	t.Parallel()
	const id = "12345678901234567890"
	dir, port := t.TempDir(), redistest.Port(t)
	redistest.Run(t, "nginx", "-c", filetest.Put(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(apiNginx, dir, port, id)))
	addr := mesh{port: port}.Addr()
	redistest.Eventually(t, readyLimit, "nginx", func() error {
		_, _, err := adapterGet(t, "http://"+addr+"/orders.xml", "")
		return err
	})
	_, url := startAPI(t, addr, `
    - match: {method: POST, path: /orders}
      request: {path: /form, body: {from: json, to: form, map: {move: {sku: article}}}}
      response: {body: {from: form, to: json}}
    - match: {method: GET, path: "/orders/{id}"}
      request: {path: /orders.xml}
      response: {body: {from: xml, to: json, map: {move: {order.item: order.items, "order.@state": order.state}}}}
    - match: {path: /other}
      response: {body: {from: xml, to: json}}
`)
	const order = `{"order":{"state":"open","id":"` + id + `","items":["a & b","c"]}}`
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		want                     string
	}{
		{
			"a form there and back", "POST", "/orders", `{"sku":"ä & b=c","count":2}`,
			[]string{"Content-Type", "application/json"},
			200, `{"article":"ä & b=c","count":"2","type":"application/x-www-form-urlencoded"}`,
		},
		{"compressed XML", "GET", "/orders/7", "", nil, 200, order}, // the client asks for gzip by itself
		{"XML", "GET", "/orders/7", "", []string{"Accept-Encoding", "identity"}, 200, order},
	}
	for _, tt := range tests {
		status, text, head := ask(t, tt.method, url+tt.path, tt.body, tt.header...)
		if status != tt.status || text != tt.want {
			t.Errorf("%s: got %d %s\nwant %d %s", tt.name, status, text, tt.status, tt.want)
		}
		if got := head.Get("Content-Type"); got != "application/json" || !strings.HasPrefix(head.Get("Server"), "nginx/") {
			t.Errorf("%s: its head is %v", tt.name, head)
		}
	}
	status, text, head := ask(t, http.MethodGet, url+"/other", "")
	if status != http.StatusNotFound || head.Get("Content-Type") != "text/html" || !strings.HasPrefix(text, "<html>") {
		t.Errorf("nginx' own error page: got %d %s %s", status, head.Get("Content-Type"), text)
	}
}
