// Package engine decides what every connected node gets, and keeps it true.
//
// It takes changes from the inventory, translates anew the objects that they
// concern and nothing else, publishes what came of it, and changes the grants of
// nodes when a label or an object does. What no connected node needs is not
// translated.
//
// # Variants and kinds
//
// An object in one environment (and zone or node, where that matters) is a variant. It is
// translated once, however many nodes need it. Nodes that get the same variants
// are of one kind and share a grant, unless a Service is followed on each one's own
// node. So a thousand pods of a Deployment cost one
// kind, and a changed EndpointSlice costs the variants that name its Service.
//
// # What stays
//
// A document that becomes invalid, a Service, Secret or ConfigMap that goes away,
// and a resource that grows too large leave what runs as it was, and a condition
// says so: what ran before is better than nothing. A permission that is withdrawn
// (a Service's allow-from) and an object, label or pod that goes take effect at
// once. A control plane that begins with such an object does not know what ran before:
// nodes that come with it are left as they are (server.Kept).
//
// What no node needs any more is kept for a while (Options.Linger), for nodes that
// come back.
//
// # Goroutines
//
// All of this is owned by one goroutine, Run's. Streams and queries reach it
// through a queue of functions; what it learns from ACKs is only noted by their
// goroutines, and looked up a moment later.
package engine
