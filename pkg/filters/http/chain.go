package http

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/drain"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// chain is the filters of one configuration with the requests that pass them.
type chain struct {
	// read-only after construction
	conf     *resource.HTTPManager
	log      *slog.Logger
	handler  http.Handler
	router   *router // the only filter; nil: there are others
	filters  []filters.HTTP
	logs     []accessLog
	files    *logFiles
	counters *counters
	routes   *routeMetrics
	listener string
	tracing  *tracing
	source   filters.RouteSource
	clusters filters.ClusterSource
	inline   *bound // of routes that are inline
	// serverName is shared by all responses.
	serverName []string

	current atomic.Pointer[bound] // of routes by RDS, latest

	running drain.Set[*exchange]
}

// newChain builds the filters. On an error those that were built are closed.
func (b *Builder) newChain(conf *resource.HTTPManager, ctx filters.Context) (*chain, error) {
	c := &chain{
		conf: conf, log: ctx.Log, counters: b.metrics.listeners.Of(ctx.Listener),
		routes: b.metrics.routes, listener: ctx.Listener, tracing: newTracing(conf.Tracing, &ctx),
		source: ctx.Routes, clusters: ctx.Clusters, serverName: []string{conf.Headers.ServerName},
		files: b.logs,
	}
	if conf.Routes != nil {
		c.inline = c.newBound(filters.Routes{Config: conf.Routes, Clusters: ctx.Clusters})
	}
	for i := range conf.AccessLogs {
		out, err := b.logs.get(conf.AccessLogs[i].Path)
		if err != nil {
			c.close()
			return nil, err
		}
		c.logs = append(c.logs, accessLog{&conf.AccessLogs[i], out})
	}
	for i := range conf.Filters {
		f := &conf.Filters[i]
		ctx.Filter = f.Name
		built, err := b.chain.BuildHTTP(f.Config, ctx)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("filter %q: %w", f.Name, err)
		}
		c.filters = append(c.filters, built)
	}
	if len(c.filters) == 1 {
		c.router, _ = c.filters[0].(*router)
	}
	c.handler = http.HandlerFunc(notFound)
	for i, f := range slices.Backward(c.filters) {
		c.handler = c.switched(&conf.Filters[i], f.Handler(c.handler), c.handler)
	}
	return c, nil
}

// notFound answers what no filter has answered.
func notFound(w http.ResponseWriter, r *http.Request) {
	filters.ExchangeOf(r.Context()).Explain("NR", "no_filter_answers")
	w.WriteHeader(http.StatusNotFound)
}

// switched leaves a filter out where routes say so, or where they do not want
// one that is disabled in the chain.
func (c *chain) switched(f *resource.HTTPFilter, with, without http.Handler) http.Handler {
	if f.TypeURL == resource.RouterType {
		return with
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		off := f.Disabled
		if x, ok := filters.ExchangeOf(r.Context()).(*exchange); ok {
			if o, said := x.override(f.Name); said {
				off = o.Disabled || off && !o.Enabled
			}
		}
		if off {
			without.ServeHTTP(w, r)
			return
		}
		with.ServeHTTP(w, r)
	})
}

// serve has the filters answer one request.
func (c *chain) serve(w http.ResponseWriter, r *http.Request) {
	x := &exchange{chain: c, start: time.Now()}
	x.writer = responseWriter{ResponseWriter: w, x: x}
	r = r.WithContext(x.context(r.Context()))
	x.original = r
	c.enter(x)
	defer func() {
		p := recover()
		x.stopClocks()
		x.cancel(nil)
		c.finish(x)
		c.leave(x)
		if p != nil {
			c.recovered(p)
		}
	}()
	if !x.admit(r) {
		return
	}
	x.find()
	x.ages()
	x.spans = c.tracing.begin(x, r)
	c.handler.ServeHTTP(&x.writer, r)
}

// finish counts and logs a request that is over.
func (c *chain) finish(x *exchange) {
	class := min(max(x.writer.status/100, 0), 5)
	c.counters.classes[class].Add(1)
	if x.routes != nil {
		if counters, ok := x.routes.counters[x.route]; ok {
			counters.classes[class].Add(1)
			counters.duration.Observe(x.now().Sub(x.start).Seconds())
		}
	}
	x.spans.end(x)
	for i := range c.logs {
		if !c.logs[i].log(x) {
			c.counters.unlogged.Add(1)
		}
	}
}

// bound gives the routes of now; nil: there are none.
func (c *chain) bound() *bound {
	if c.inline != nil || c.source == nil || c.conf.RoutesName == "" {
		return c.inline
	}
	found, ok := c.source.Routes(c.conf.RoutesName)
	if !ok {
		return nil
	}
	b := c.current.Load()
	if b == nil || b.config != found.Config || b.clusters != found.Clusters {
		b = c.newBound(found)
		c.current.Store(b)
	}
	return b
}

// bound is a route configuration with the clusters that its names mean.
type bound struct {
	config   any
	table    *route.Table
	clusters filters.ClusterSource
	counters map[*resource.Route]*routeCounters // of those with a name
}

func (c *chain) newBound(r filters.Routes) *bound {
	config, ok := r.Config.(*resource.RouteConfig)
	if !ok {
		return nil
	}
	return &bound{config: r.Config, table: route.New(config), clusters: r.Clusters, counters: c.routes.all(c.listener, config)}
}

// recovered reports a filter's panic, and ends the connection.
func (c *chain) recovered(p any) {
	if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		c.reported(p)
	}
	panic(http.ErrAbortHandler)
}

func (c *chain) reported(p any) {
	c.counters.panics.Add(1)
	c.log.Error("a filter has panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

func (c *chain) enter(x *exchange) {
	c.counters.requests.Add(1)
	c.counters.active.Add(1)
	c.running.Add(x)
}

func (c *chain) leave(x *exchange) {
	c.counters.active.Add(-1)
	c.running.Remove(x)
}

// errRetired ends requests whose configuration is gone.
var errRetired = errors.New("the configuration of the request has been replaced")

// cut ends the requests under way and tells how many there were.
func (c *chain) cut() int {
	n := 0
	c.running.Each(func(x *exchange) {
		n++
		x.end(errRetired)
	})
	return n
}

func (c *chain) close() {
	for i := range c.logs {
		c.files.put(c.logs[i].out)
	}
	for _, f := range c.filters {
		f.Close()
	}
}
