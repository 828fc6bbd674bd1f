// Package admin is the process's window for people and probes: an HTTP server
// on loopback with Envoy's paths.
//
// Paths that change something want POST. Nothing here shows the value of a
// secret, a key's value or a password.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options are what the server shows and does. A nil function leaves its path
// out.
type Options struct {
	// Ready says whether the process serves, and why not, or what should be known
	// although it does.
	Ready func() (ok bool, reason string)
	// ConfigDump returns what /config_dump encodes as JSON.
	ConfigDump func() any
	// Resources returns what /config_dump?resource=KIND encodes of the resources
	// whose names are wanted, as Envoy has them; false: there is no such kind.
	Resources func(kind string, wanted func(name string) bool) (list []any, ok bool)
	// Clusters and Listeners return what ?format=json encodes, and its text.
	Clusters, Listeners func() View
	// SlowLog and HotKeys return what is encoded as JSON.
	SlowLog, HotKeys func() any
	// DrainListeners stops accepting, in the background.
	DrainListeners func()
	// Answered is called after each request.
	Answered func()
	// Quit ends the process as SIGTERM does.
	Quit func()

	Level    *slog.LevelVar
	Gatherer prometheus.Gatherer
	Log      *slog.Logger
}

// View is the same thing for machines and for people.
type View struct {
	JSON any
	Text string
}

const (
	// answerTime bounds an answer, a profile of some minutes too, towards who does not read.
	answerTime = 10 * time.Minute
	// maxHeader bounds a request, and with it the regular expressions in its query,
	// which take a thousand times as much memory. net/http adds 4 KiB to it.
	maxHeader = 16 << 10
)

// Server is a running admin server.
type Server struct {
	http     *http.Server
	listener net.Listener
	log      *slog.Logger
	done     chan struct{}
}

// Listen binds address, such as 127.0.0.1:9901, and serves.
func Listen(ctx context.Context, address string, o Options) (*Server, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("binding the admin address %q: %w", address, err)
	}
	s := &Server{
		http: &http.Server{
			Handler:           Handler(o),
			ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout:       time.Minute,
			WriteTimeout:      answerTime,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		},
		listener: ln, log: o.Log, done: make(chan struct{}),
	}
	go s.serve()
	return s, nil
}

func (s *Server) serve() {
	defer close(s.done)
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("admin server ended", "error", err)
	}
}

// Addr is the address bound, with the port that the system chose.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close lets running requests finish until ctx is done.
func (s *Server) Close(ctx context.Context) {
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close() // the deadline is over, nothing is left to wait for
	}
	<-s.done
}

// route is one path: its method, what it does, and a line of help.
type route struct {
	path    string
	post    bool
	help    string
	handler http.HandlerFunc
}

// Handler returns the server's handler.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	routes := o.routes()
	for _, r := range routes {
		mux.Handle(r.path, only(r))
	}
	pprofRoutes(mux)
	mux.Handle("/", help(routes))
	// A page of the web, in a browser on this machine, could post here, too.
	handler := http.NewCrossOriginProtection().Handler(mux)
	if o.Answered == nil {
		return handler
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer o.Answered()
		handler.ServeHTTP(w, req)
	})
}

func (o Options) routes() []route {
	list := []route{
		{path: "/metrics", help: "metrics, Prometheus format (?filter=REGEX)", handler: o.prometheus},
		{path: "/stats/prometheus", help: "the same as /metrics", handler: o.prometheus},
		{path: "/stats", help: "metrics as text (?filter=REGEX, ?format=json|prometheus)", handler: o.stats},
	}
	add := func(have bool, r route) {
		if have {
			list = append(list, r)
		}
	}
	add(o.Ready != nil, route{path: "/ready", help: "200 when the process serves, else 503", handler: o.ready})
	add(o.ConfigDump != nil, route{
		path: "/config_dump", handler: o.configDump,
		help: "configuration as accepted, and why the last one was refused (?resource=dynamic_listeners, ?name_regex=REGEX, ?mask=FIELD,FIELD)",
	})
	add(o.Clusters != nil, route{path: "/clusters", help: "clusters and endpoints (?format=json)", handler: o.view(o.Clusters)})
	add(o.Listeners != nil, route{path: "/listeners", help: "listeners (?format=json)", handler: o.view(o.Listeners)})
	add(o.SlowLog != nil, route{
		path: "/slowlog", help: "the slowest commands",
		handler: func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.Log, o.SlowLog()) },
	})
	add(o.HotKeys != nil, route{
		path: "/hotkeys", help: "the keys asked for most often",
		handler: func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, o.Log, o.HotKeys()) },
	})
	add(o.Level != nil, route{path: "/logging", post: true, help: "?level=debug|info|warn|error sets the log level", handler: o.logging})
	add(o.DrainListeners != nil, route{
		path: "/drain_listeners", post: true, help: "stop accepting connections; those that are open stay (?graceful)", handler: o.drain,
	})
	add(o.Quit != nil, route{
		path: "/quitquitquit", post: true, help: "end the process",
		handler: func(w http.ResponseWriter, _ *http.Request) { ok(w); o.Quit() },
	})
	sort.Slice(list, func(i, j int) bool { return list[i].path < list[j].path })
	return list
}

// only lets the route's own method through. HEAD is as good as GET.
func only(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		want := http.MethodGet
		if r.post {
			want = http.MethodPost
		}
		if req.Method != want && (r.post || req.Method != http.MethodHead) {
			w.Header().Set("Allow", want)
			http.Error(w, "use "+want, http.StatusMethodNotAllowed)
			return
		}
		r.handler(w, req)
	})
}

func help(routes []route) http.Handler {
	var b strings.Builder
	b.WriteString("admin commands are:\n")
	for _, r := range routes {
		method := ""
		if r.post {
			method = " (POST)"
		}
		fmt.Fprintf(&b, "  %s%s: %s\n", r.path, method, r.help)
	}
	b.WriteString("  /debug/pprof/: profiles\n")
	text := b.String()
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/" && req.URL.Path != "/help" {
			http.Error(w, "invalid path. "+text, http.StatusNotFound)
			return
		}
		plain(w, text)
	})
}

func pprofRoutes(mux *http.ServeMux) {
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
}

// metrics are those of a gatherer, as Prometheus reads them.
func (o Options) metrics(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
		ErrorLog:      slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	})
}
