// Package fetch gets a page that a source of metrics is, and no more of it than
// was agreed upon.
package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What holds for a Config that doesn't say.
const (
	DefaultTimeout  = 5 * time.Second
	DefaultMaxBytes = 16 << 20
)

// idle is how long a connection is kept between two scrapes: longer than the
// usual interval of a minute.
const idle = 90 * time.Second

// maxIdle is how many connections are kept, to all hosts.
const maxIdle = 64

// ErrTooLarge says that a page is larger than Config.MaxBytes.
var ErrTooLarge = errors.New("the answer is too large")

// StatusError is an answer with a status that is no success.
type StatusError struct{ Code int }

func (e *StatusError) Error() string {
	return fmt.Sprintf("answered with status %d %s", e.Code, http.StatusText(e.Code))
}

// Secret is read each time it is used, so that it may change.
type Secret func() (string, error)

// Config says how pages are fetched. It is read-only once it is used.
type Config struct {
	Timeout  time.Duration // of one fetch; 0: DefaultTimeout
	MaxBytes int64         // of an answer, unpacked; 0: DefaultMaxBytes
	Header   http.Header
	Username Secret // basic authentication, with Password
	Password Secret
	Bearer   Secret // credentials of the header Authorization
	Scheme   string // of Bearer; "": Bearer
	TLS      *tls.Config
	Proxy    *url.URL
	// Valid are the statuses that are answers; none: 200 to 299.
	Valid []int
	// NoRedirects takes a redirect as the answer.
	NoRedirects bool
	// Small says of the page of a source that it is, so that compression would only
	// cost time.
	Small bool

	host          string                                                               // that Small is of
	dial, dialTLS func(ctx context.Context, network, address string) (net.Conn, error) // nil: as usual
}

// Client fetches pages. It is safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client
}

// New makes a client. It keeps a connection open between fetches.
func New(cfg Config) *Client {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	transport := &http.Transport{
		TLSClientConfig:        cfg.TLS,
		DialContext:            cfg.dial,
		DialTLSContext:         cfg.dialTLS,
		MaxIdleConnsPerHost:    1,
		MaxIdleConns:           maxIdle,
		IdleConnTimeout:        idle,
		MaxResponseHeaderBytes: maxHeader,
		ForceAttemptHTTP2:      false,
	}
	if cfg.Proxy != nil {
		transport.Proxy = http.ProxyURL(cfg.Proxy)
	}
	c := &Client{cfg: cfg, http: &http.Client{Transport: transport}}
	if cfg.Small && cfg.host != "" && cfg.Proxy == nil {
		c.http.Transport = newDirect(cfg.host, cfg.dial, transport)
	}
	if cfg.NoRedirects {
		c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return c
}

// Get fetches a page with GET.
func (c *Client) Get(ctx context.Context, uri string) ([]byte, error) {
	return c.Do(ctx, http.MethodGet, uri, nil)
}

// Do fetches a page and returns its body. The error never holds the URI, whose
// query may be a secret.
func (c *Client) Do(ctx context.Context, method, uri string, body []byte) ([]byte, error) {
	page, _, err := c.Typed(ctx, method, uri, body)
	return page, err
}

// Typed is Do for a page that may be of several types; it gives the type as well.
func (c *Client) Typed(ctx context.Context, method, uri string, body []byte) (page []byte, contentType string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, uri, bytes.NewReader(body))
	if err != nil {
		return nil, "", errors.New("the URI is not valid")
	}
	if err := c.dress(req); err != nil {
		return nil, "", err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, "", c.plain(ctx, err)
	}
	defer res.Body.Close()
	if !c.valid(res.StatusCode) {
		// Read a little, so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, res.Body, 4096)
		return nil, "", &StatusError{Code: res.StatusCode}
	}
	if page, err = c.read(res); err != nil {
		return nil, "", c.plain(ctx, err)
	}
	return page, res.Header.Get("Content-Type"), nil
}

// dress gives the request its headers and credentials.
func (c *Client) dress(req *http.Request) error {
	for name, values := range c.cfg.Header {
		if strings.EqualFold(name, "Host") {
			req.Host = values[0]
			continue
		}
		req.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if c.cfg.Username != nil || c.cfg.Password != nil {
		user, err := read(c.cfg.Username)
		if err != nil {
			return fmt.Errorf("reading the user name: %w", err)
		}
		password, err := read(c.cfg.Password)
		if err != nil {
			return fmt.Errorf("reading the password: %w", err)
		}
		req.SetBasicAuth(user, password)
	}
	if c.cfg.Bearer != nil {
		token, err := c.cfg.Bearer()
		if err != nil {
			return fmt.Errorf("reading the token: %w", err)
		}
		scheme := c.cfg.Scheme
		if scheme == "" {
			scheme = "Bearer"
		}
		req.Header.Set("Authorization", scheme+" "+token)
	}
	return nil
}

func read(s Secret) (string, error) {
	if s == nil {
		return "", nil
	}
	return s()
}

func (c *Client) valid(code int) bool {
	if len(c.cfg.Valid) > 0 {
		return slices.Contains(c.cfg.Valid, code)
	}
	return code/100 == 2
}

// read takes the body, and believes a declared length only as far as the limit.
func (c *Client) read(res *http.Response) ([]byte, error) {
	if res.ContentLength > c.cfg.MaxBytes {
		return nil, c.tooLarge()
	}
	var buf bytes.Buffer
	if res.ContentLength > 0 {
		buf.Grow(int(res.ContentLength) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(res.Body, c.cfg.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if n > c.cfg.MaxBytes {
		return nil, c.tooLarge()
	}
	return buf.Bytes(), nil
}

func (c *Client) tooLarge() error {
	return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, c.cfg.MaxBytes)
}

// plain takes the URI out of an error, and says what a deadline means.
func (c *Client) plain(ctx context.Context, err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("no whole answer in time: %w", context.DeadlineExceeded)
	}
	return err
}

// Close lets connections go that nobody uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }
