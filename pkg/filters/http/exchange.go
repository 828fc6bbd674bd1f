package http

import (
	"context"
	"net/http"
)

// exchange is one request under way. It implements filters.Exchange.
type exchange struct {
	chain  *chain
	cancel context.CancelCauseFunc

	flag, detail string
}

// FilterConfig implements filters.Exchange.
func (x *exchange) FilterConfig(string) any { return nil }

// Reroute implements filters.Exchange.
func (x *exchange) Reroute(*http.Request) {}

// Explain implements filters.Exchange.
func (x *exchange) Explain(flag, detail string) { x.flag, x.detail = flag, detail }
