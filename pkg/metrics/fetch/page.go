package fetch

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Page is what a source is, wherever it is: a URL, a path behind a unix socket,
// or a file.
type Page struct {
	client *Client // nil for a file
	uri    string
	file   string
	limit  int64
}

// Open makes the page of a source. base is what holds where the source doesn't
// say otherwise. Nothing is asked of anybody.
func Open(f *resource.MetricsFetch, env metrics.Env, base Config) *Page {
	p := &Page{uri: f.URI, limit: cmp.Or(env.MaxBytes, DefaultMaxBytes)}
	if path, ok := strings.CutPrefix(f.URI, "file://"); ok {
		p.file = path
		return p
	}
	cfg := base
	cfg.Timeout, cfg.MaxBytes = f.Timeout, p.limit
	cfg.Header = cfg.Header.Clone()
	if cfg.Header == nil {
		cfg.Header = make(http.Header)
	}
	for name, value := range f.Headers {
		cfg.Header.Set(name, value)
	}
	if f.Auth.Username != "" || f.Auth.Password.Set() {
		cfg.Username = func() (string, error) { return f.Auth.Username, nil }
		cfg.Password, cfg.Bearer = SecretOf(env, f.Auth.Password), nil
	}
	if f.Auth.Bearer.Set() {
		cfg.Username, cfg.Password = nil, nil
		cfg.Bearer, cfg.Scheme = SecretOf(env, f.Auth.Bearer), ""
	}
	if f.TLS != nil {
		cfg.dialTLS = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return StartTLS(ctx, conn, f.TLS, address)
		}
	}
	if socket, ok := strings.CutPrefix(f.URI, "unix:"); ok {
		socket, path, _ := strings.Cut(socket, ":")
		p.uri = "http://localhost" + cmp.Or(path, "/")
		cfg.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
	}
	if u, err := url.Parse(p.uri); err == nil {
		cfg.host = u.Host
	}
	p.client = New(cfg)
	return p
}

// SecretOf reads a value of a secret, "" if none is named.
func SecretOf(env metrics.Env, k resource.SecretKey) Secret {
	return func() (string, error) {
		if !k.Set() {
			return "", nil
		}
		name := k.Name
		if k.Key != "" {
			name += "/" + k.Key
		}
		return env.Secrets.Secret(name)
	}
}

// Get fetches the page.
func (p *Page) Get(ctx context.Context) ([]byte, error) { return p.Do(ctx, http.MethodGet, nil) }

// Typed fetches a page that may be of several types, and says of which it is; ""
// for a file.
func (p *Page) Typed(ctx context.Context) (page []byte, contentType string, err error) {
	if p.client != nil {
		return p.client.Typed(ctx, http.MethodGet, p.uri, nil)
	}
	page, err = ReadFile(p.file, p.limit)
	return page, "", err
}

// Do fetches the page with a method and a body, which mean nothing to a file.
func (p *Page) Do(ctx context.Context, method string, body []byte) ([]byte, error) {
	if p.client != nil {
		return p.client.Do(ctx, method, p.uri, body)
	}
	return ReadFile(p.file, p.limit)
}

// Close lets connections go.
func (p *Page) Close() error {
	if p.client != nil {
		p.client.Close()
	}
	return nil
}

// deadline makes connections that are no HTTP end with their context: it returns
// what is to be called when the connection is not used any more.
func deadline(ctx context.Context, conn net.Conn) (release func() bool, err error) {
	if t, ok := ctx.Deadline(); ok {
		err = conn.SetDeadline(t)
	}
	return context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // whoever uses it sees that
	}), err
}
