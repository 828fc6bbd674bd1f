package fetch_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// site has pages by path.
func site(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/x")
		fmt.Fprint(w, "page")
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/page", http.StatusFound) })
	mux.HandleFunc("/round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 5000)) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 1000)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/packed", func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			http.Error(w, "gzip is not asked for", http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 10<<20)) // small as it is sent
		_ = z.Close()
	})
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "less")
	})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, "%s %s %s %q %s:%s %s", r.Method, r.Host, r.Header.Get("X-Own"), body, user, password, r.Header.Get("Authorization"))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestGet(t *testing.T) {
	t.Parallel()
	const limit = 4096
	base := site(t)
	tests := []struct {
		path string
		cfg  fetch.Config
		want string
		err  string
	}{
		{path: "/page", want: "page"},
		{path: "/moved", want: "page"},
		{path: "/moved", cfg: fetch.Config{NoRedirects: true}, err: "answered with status 302 Found"},
		{path: "/moved", cfg: fetch.Config{NoRedirects: true, Valid: []int{302}}, want: "<a href=\"/page\">Found</a>.\n\n"},
		{path: "/round", err: "stopped after 10 redirects"},
		{path: "/none", err: "answered with status 404 Not Found"},
		{path: "/none", cfg: fetch.Config{Valid: []int{404}}, want: "404 page not found\n"},
		{path: "/page", cfg: fetch.Config{Valid: []int{404}}, err: "answered with status 200 OK"},
		{path: "/large", err: "the answer is too large: more than 4096 bytes"},
		{path: "/endless", err: "the answer is too large: more than 4096 bytes"},
		{path: "/packed", err: "the answer is too large: more than 4096 bytes"},
		{path: "/cut", err: "reading the answer: unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			t.Parallel()
			tt.cfg.MaxBytes, tt.cfg.Timeout = limit, time.Minute
			c := fetch.New(tt.cfg)
			defer c.Close()
			got, err := c.Get(t.Context(), base+tt.path)
			said := ""
			if err != nil {
				said = err.Error()
			}
			if string(got) != tt.want || said != tt.err {
				t.Errorf("got %q, %q; want %q, %q", got, said, tt.want, tt.err)
			}
		})
	}
}

// TestErrorsDoNotTellTheURI: its query may be a secret.
func TestErrorsDoNotTellTheURI(t *testing.T) {
	t.Parallel()
	base := site(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	for uri, want := range map[string]error{
		gone.URL + "/?token=open-sesame":       syscall.ECONNREFUSED,
		base + "/slow?token=open-sesame":       context.DeadlineExceeded,
		base + "/round?token=open-sesame":      nil,
		base + "/none?token=open-sesame":       nil,
		"http://[::1?token=open-sesame":        nil,
		"gopher://localhost?token=open-sesame": nil,
	} {
		timeout := time.Minute
		if errors.Is(want, context.DeadlineExceeded) {
			timeout = 10 * time.Millisecond
		}
		c := fetch.New(fetch.Config{Timeout: timeout})
		_, err := c.Get(t.Context(), uri)
		if err == nil || want != nil && !errors.Is(err, want) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", uri, err)
		}
		c.Close()
	}
}

type secrets map[string]string

func (s secrets) Secret(name string) (string, error) {
	v, ok := s[name]
	if !ok {
		return "", errors.New("there is no such secret")
	}
	return v, nil
}

// TestDocument: what a document says of a page is what is asked for; secrets are
// read each time.
func TestDocument(t *testing.T) {
	t.Parallel()
	base := site(t)
	held := secrets{"p/word": "first", "t": "token-1"}
	tests := []struct {
		name string
		give resource.MetricsFetch
		want string
		err  string
	}{
		{"headers", resource.MetricsFetch{Headers: map[string]string{"x-own": "v", "host": "other.example"}}, `GET other.example v "" : `, ""},
		{"basic", resource.MetricsFetch{Auth: resource.MetricsAuth{Username: "u", Password: resource.SecretKey{Name: "p", Key: "word"}}}, `"" u:first Basic dTpmaXJzdA==`, ""},
		{"bearer", resource.MetricsFetch{Auth: resource.MetricsAuth{Bearer: resource.SecretKey{Name: "t"}}}, `"" : Bearer token-1`, ""},
		{"missing", resource.MetricsFetch{Auth: resource.MetricsAuth{Bearer: resource.SecretKey{Name: "x"}}}, "", "reading the token: there is no such secret"},
		{"missing password", resource.MetricsFetch{Auth: resource.MetricsAuth{Username: "u", Password: resource.SecretKey{Name: "x"}}}, "", "reading the password: there is no such secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.give.URI, tt.give.Timeout = base+"/echo", time.Minute
			p := fetch.Open(&tt.give, metrics.Env{Secrets: held}, fetch.Config{})
			defer p.Close()
			got, err := p.Get(t.Context())
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("got %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil || !strings.Contains(string(got), tt.want) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestPost(t *testing.T) {
	t.Parallel()
	c := fetch.New(fetch.Config{Timeout: time.Minute})
	defer c.Close()
	got, kind, err := c.Typed(t.Context(), http.MethodPost, site(t)+"/echo", []byte("question"))
	if err != nil || !strings.HasPrefix(string(got), "POST ") || !strings.Contains(string(got), `"question"`) || !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("got %q, %q, %v", got, kind, err)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, []byte("page"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	get := func(uri string, limit int64) (string, error) {
		p := fetch.Open(&resource.MetricsFetch{URI: uri}, metrics.Env{MaxBytes: limit}, fetch.Config{})
		got, err := p.Get(t.Context())
		return string(got), errors.Join(err, p.Close())
	}
	if got, err := get("file://"+file, 4); err != nil || got != "page" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := get("file://"+file, 3); !errors.Is(err, fetch.ErrTooLarge) {
		t.Errorf("a file that is too large: %v", err)
	}
	if _, err := get("file://"+file+"x", 4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, path := range []string{pipe, dir} { // nobody will ever write to the pipe
		if _, err := get("file://"+path, 4); err == nil || !strings.Contains(err.Error(), "is no regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
