// Package try shows what an API adapter makes of a request and of a response,
// step by step, without a server: by the filter that would run.
package try

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/filters/transform"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Options are what is tried.
type Options struct {
	Adapter  *mesh.Adapter
	Request  []byte // raw, as curl sends it
	Response []byte // of the app, raw; nil: only the request is shown
}

// ErrRefused says that the client would get an answer of the proxy's own.
var ErrRefused = errors.New("the proxy answers itself")

// trial is one request.
type trial struct {
	w        io.Writer
	table    *route.Table
	routes   *resource.RouteConfig
	route    *resource.Route
	response *http.Response // of the app; nil: none is given
	refused  bool
	back     bool // steps are those of the response now
	depth    int
}

// Run writes a transcript.
func Run(w io.Writer, o Options) error {
	req, err := parseRequest(o.Request)
	if err != nil {
		return fmt.Errorf("--request: %w", err)
	}
	t := &trial{w: w}
	handler, done, err := t.open(o.Adapter)
	if err != nil {
		return err
	}
	defer done()
	if o.Response != nil {
		method := req.Method
		if t.response, err = parseResponse(o.Response, method); err != nil {
			return fmt.Errorf("--response: %w", err)
		}
	}
	clean, _, err := route.Normalize(&resource.HTTPPath{Normalize: true}, req.URL.EscapedPath())
	if err != nil {
		return fmt.Errorf("--request: the path: %w", err)
	}
	if plain := strings.TrimPrefix(clean, req.URL.EscapedPath()); clean != req.URL.EscapedPath() || plain != "" {
		req.URL.RawPath, req.URL.Path = clean, clean
	}
	t.request(req)
	if t.route == nil {
		return nil
	}
	return t.serve(handler, req)
}

// open makes the filter of a document, and gives what closes it.
func (t *trial) open(a *mesh.Adapter) (http.Handler, func(), error) {
	set, conditions := translate.Translate([]mesh.Object{a}, translate.Node{}, nil)
	if len(set.Routes) != 1 || len(set.Listeners) != 1 {
		return nil, nil, fmt.Errorf("%s has no routes: %v", a.Key(), conditions)
	}
	routes, err := resource.ParseRoutes(set.Routes[0])
	if err != nil {
		return nil, nil, err
	}
	listener, err := resource.ParseListener(set.Listeners[0])
	if err != nil {
		return nil, nil, err
	}
	manager, ok := listener.Filter.Config.(*resource.HTTPManager)
	if !ok {
		return nil, nil, fmt.Errorf("%s speaks no HTTP", a.Key())
	}
	t.routes, t.table = routes, route.New(routes)
	f, err := transform.NewRecordingBuilder(t.step).BuildHTTP(manager.Filters[0].Config, filters.Context{Listener: a.Key(), Filter: manager.Filters[0].Name})
	if err != nil {
		return nil, nil, err
	}
	return f.Handler(http.HandlerFunc(t.app)), f.Close, nil
}

// FilterConfig implements filters.Exchange.
func (t *trial) FilterConfig(name string) any {
	if t.route == nil {
		return nil
	}
	return t.route.PerFilter[name].Config
}

// Timeout implements filters.Exchange: nothing is waited for.
func (*trial) Timeout() time.Duration { return 0 }

// Explain implements filters.Exchange.
func (*trial) Explain(string, string) {}

// Reroute implements filters.Exchange.
func (t *trial) Reroute(r *http.Request) { t.find(r) }

func asked(r *http.Request) *route.Request {
	return &route.Request{
		Method: r.Method, Scheme: "http", Host: r.Host, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header,
	}
}

// find looks for the route, and tells of those that are not it.
func (t *trial) find(r *http.Request) {
	request := asked(r)
	_, t.route = t.table.Find(request)
	for i := range t.routes.VirtualHosts[0].Routes {
		candidate := &t.routes.VirtualHosts[0].Routes[i]
		if candidate == t.route {
			return
		}
		if candidate.Name != "" {
			fmt.Fprintf(t.w, "  not %s: %s\n", candidate.Name, why(&candidate.Match, request))
		}
	}
}

// request shows what the client sends, and finds its route.
func (t *trial) request(r *http.Request) {
	body, _ := io.ReadAll(r.Body) // in memory
	r.Body = io.NopCloser(bytes.NewReader(body))
	fmt.Fprintf(t.w, "the client sends\n  > %s %s\n  > Host: %s\n", r.Method, r.URL.RequestURI(), r.Host)
	headers(t.w, "  > ", r.Header)
	if len(body) > 0 {
		fmt.Fprintln(t.w, "  >")
		show(t.w, "  > ", string(body))
	}
	fmt.Fprintln(t.w, "routes")
	t.find(r)
}

// step shows what the filter tells.
func (t *trial) step(s transform.Step) {
	switch {
	case s.What == "route":
		fmt.Fprintf(t.w, "route %s\n", s.After)
		return
	case s.What == "value":
		fmt.Fprintf(t.w, "  %s is %s\n", s.Before, s.After)
		return
	case s.What == "answer":
		t.refused = true
		fmt.Fprintf(t.w, "  refused: %s\n", s.After)
		return
	case s.What == "field":
		fmt.Fprintf(t.w, "    %s: %s\n", s.Before, s.After)
		return
	case s.Response && (!t.back || s.Depth != t.depth):
		t.back, t.depth = true, s.Depth
	}
	switch s.What {
	case "body":
		fmt.Fprintf(t.w, "  body, %s to %s\n", s.Format, s.To)
		show(t.w, "    - ", s.Before)
		show(t.w, "    + ", s.After)
	case "header":
		show(t.w, "  - ", s.Before)
		show(t.w, "  + ", s.After)
	case "schema":
		fmt.Fprintf(t.w, "  schema: %s\n", s.After)
	default:
		fmt.Fprintf(t.w, "  %s %s, was %s\n", s.What, s.After, s.Before)
	}
}

// stopped ends a request where there is no response to go on with.
type stopped struct{}

// app stands for the app.
func (t *trial) app(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(t.w, "the app is asked\n  > %s %s\n", r.Method, r.URL.RequestURI())
	host := r.Host
	if t.route.Forward != nil && t.route.Forward.Host.Literal != "" {
		host = t.route.Forward.Host.Literal
	}
	fmt.Fprintf(t.w, "  > Host: %s\n", host)
	h := r.Header.Clone()
	delete(h, "Content-Length")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if len(body) > 0 {
		h.Set("Content-Length", fmt.Sprint(len(body)))
	}
	headers(t.w, "  > ", h)
	if len(body) > 0 {
		fmt.Fprintln(t.w, "  >")
		show(t.w, "  > ", string(body))
	}
	if t.response == nil {
		panic(stopped{})
	}
	fmt.Fprintf(t.w, "the app answers\n  < %s\n", t.response.Status)
	answer, _ := io.ReadAll(t.response.Body) // in memory
	headers(t.w, "  < ", t.response.Header)
	if len(answer) > 0 {
		fmt.Fprintln(t.w, "  <")
		show(t.w, "  < ", string(answer))
	}
	fmt.Fprintln(t.w, "response")
	maps.Copy(w.Header(), t.response.Header)
	w.WriteHeader(t.response.StatusCode)
	_, _ = w.Write(answer)
}

// serve has the filter do its work, and shows what the client gets.
func (t *trial) serve(handler http.Handler, r *http.Request) error {
	out := &recorder{header: http.Header{}}
	gone := func() (gone bool) {
		defer func() {
			if p := recover(); p != nil {
				if _, gone = p.(stopped); !gone {
					panic(p)
				}
			}
		}()
		handler.ServeHTTP(out, r.WithContext(filters.WithExchange(r.Context(), t)))
		return false
	}()
	if gone {
		return nil
	}
	fmt.Fprintf(t.w, "the client gets\n  < %d %s\n", out.status, http.StatusText(out.status))
	headers(t.w, "  < ", out.header)
	if out.body.Len() > 0 {
		fmt.Fprintln(t.w, "  <")
		show(t.w, "  < ", out.body.String())
	}
	if t.refused {
		return ErrRefused
	}
	return nil
}

// recorder is what the client gets.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if status >= 200 && r.status == 0 {
		r.status = status
	}
}

// Write implements io.Writer.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}
