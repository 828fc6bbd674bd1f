// Package server spreads xDS resources: delta ADS by a fan-out of its own, and
// state-of-the-world ADS for foreign clients through go-control-plane's server.
//
// A resource is marshalled once ([NewResource]) and shared by every stream that
// gets it. [Server.Publish] puts versions in place; a version that is the same
// as the one before sends nothing. What a node may have is its [Grant], which
// whoever authenticates the node ([Nodes]) decides and can change at any time
// ([Node.SetGrant]).
//
//	Publish ──▶ entry (one resource) ──▶ its subs ──▶ lane.dirty ──▶ one response in flight per lane
//	                                                   (a lane is one type of one stream)
//
// Per stream and type one response is in flight; what changes meanwhile is
// gathered and goes out after the ACK. Across types the order is that of the
// protocol (https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol):
// clusters, endpoints, listeners, routes; what is gone goes the other way round.
//
// Locks: a [Node] has one, an entry has one, and a node's may be held while an
// entry's is taken, never the other way round. Nothing on the way from Publish
// to a socket is shared by all streams.
package server
