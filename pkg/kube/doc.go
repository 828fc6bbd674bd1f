// Package kube is the Kubernetes half of a control plane: it fills the inventory
// from an API server, says whose token a token is, writes what became of objects
// into their status, and keeps the authority's keys.
//
// # What is watched
//
// Services, EndpointSlices, Endpoints, Pods, Ambassadors and Adapters of all
// namespaces, and of Namespaces and Nodes only the metadata. What arrives is cut down to
// what the inventory needs before it is kept; there is no second cache beside
// the inventory. A watch event that changes nothing in that is dropped: the
// heartbeat of a pod wakes nobody.
//
// Secrets and ConfigMaps are never listed. Those that an Ambassador names are watched
// one by one, by name, from when the first object names one until the last no
// longer does. Leases are watched in the same way. So a control plane may be allowed to read those and no others,
// and one that is missing is noticed when it comes.
//
// When the API server is away the inventory stays as it was, and the watches go
// on from where they were.
//
// # Who leads
//
// The pod that a Lease names as its holder, until the Lease has run out: a term
// ends when no renewal was seen for its duration by our own clock, or, of the first
// that is seen, by what it says itself. While the API server cannot be asked no
// term ends. A pod that comes back under the name of the holder leads from its
// first renewal.
//
// # Which endpoints a Service has
//
// Those of all its EndpointSlices, each address once. Of a pod with addresses of
// both families the one of the Service's first family counts, so that a pod is
// one endpoint and not two. A Service without a slice has those of its core
// Endpoints object: a cluster without the mirroring controller knows no others.
// Endpoints that Kubernetes itself made of a selector are not even fetched, as
// their slices say the same.
//
// # Who writes the status
//
// Every replica serves, and one of them, which holds a Lease, writes. The proxies
// of an object are spread over all replicas, so the counts have to meet: each
// replica keeps a ConfigMap of its own in the control plane's namespace, with
// its counts by object, and the leader adds them up. The alternative, an entry of
// each replica in the status itself (server-side apply, one field manager each),
// was turned down: every change of a count would be a write to the object by every
// replica and an event to everybody who watches it, the entries of a replica
// that died would stay, and the status would no longer have one writer. One
// ConfigMap a replica costs one write per interval however many objects change.
// It is renewed periodically; the leader forgets a replica that stops, measured
// by the leader's own clock, and a replica that ends takes it away.
//
// A status is written only if it differs from what the API server holds, at most
// once a second for an object and at a bounded rate for all. A new leader thus
// writes what is different, and nothing else. Server-side apply with one field
// manager leaves what others put beside it alone.
package kube
