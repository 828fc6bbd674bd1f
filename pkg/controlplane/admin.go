package controlplane

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/admin"
)

// queryTime bounds a question to the engine.
const queryTime = 10 * time.Second

// adminHandler has the proxy's paths where they mean something here, and two of
// its own.
func (c *ControlPlane) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", admin.Handler(admin.Options{
		Ready: c.Ready, ConfigDump: c.dump, Level: c.opts.Level, Gatherer: c.registry, Log: c.opts.Log,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("OK\n")) // the client is gone otherwise
	})
	mux.HandleFunc("GET /proxies", c.showProxies)
	return mux
}

// dump is what /config_dump shows.
func (c *ControlPlane) dump() any {
	ctx, cancel := context.WithTimeout(context.Background(), queryTime)
	defer cancel()
	var problems []string
	if c.opts.Platform.Problems != nil {
		problems = c.opts.Platform.Problems()
	}
	return struct {
		Problems []string `json:"problems,omitempty"` // of the source
		engine.Dump
	}{problems, c.engine.Dump(ctx)}
}

func (c *ControlPlane) showProxies(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), queryTime)
	defer cancel()
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(c.engine.Proxies(ctx)) // the client is gone otherwise
}
