package http

import (
	"net/http"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// levels lists what changes headers, in the order in which it is applied: from
// the route outwards, or the other way round where the most specific wins.
func (x *exchange) levels(visit func(*resource.HeaderChanges)) {
	var all [4]*resource.HeaderChanges
	n := 0
	add := func(c *resource.HeaderChanges) {
		if !c.Empty() {
			all[n] = c
			n++
		}
	}
	if x.weighted != nil {
		add(&x.weighted.Headers)
	}
	if x.route != nil {
		add(&x.route.Headers)
	}
	if x.host != nil {
		add(&x.host.Headers)
	}
	if x.routes == nil {
		return
	}
	config := x.routes.table.Config()
	add(&config.Headers)
	for i := range n {
		if config.MostSpecificWins {
			i = n - 1 - i
		}
		visit(all[i])
	}
}

func (x *exchange) changeRequest(h http.Header) {
	x.levels(func(c *resource.HeaderChanges) { x.change(h, c.RequestAdd, c.RequestRemove) })
}

func (x *exchange) changeResponse(h http.Header) {
	x.levels(func(c *resource.HeaderChanges) { x.change(h, c.ResponseAdd, c.ResponseRemove) })
}

func (x *exchange) change(h http.Header, add []resource.HeaderChange, remove []string) {
	for i := range add {
		x.addHeader(h, &add[i])
	}
	for _, name := range remove {
		delete(h, name)
	}
}

func (x *exchange) addHeader(h http.Header, c *resource.HeaderChange) {
	value, plain := c.Value.Plain()
	if !plain {
		value = x.formatHeader(&c.Value, h)
	}
	if value == "" && !c.KeepEmpty {
		return
	}
	_, there := h[c.Name]
	switch {
	case c.Action == resource.HeaderAppend:
		h[c.Name] = append(slices.Clip(h[c.Name]), value)
	case c.Action == resource.HeaderOverwrite,
		c.Action == resource.HeaderAddIfAbsent && !there,
		c.Action == resource.HeaderOverwriteExists && there:
		h[c.Name] = []string{value}
	}
}
