package client

import (
	"crypto/sha256"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// version is one state of one resource, valid by itself. Read-only but for
// number and disk.
type version struct {
	key    key
	number string // what the control plane calls it
	sum    [sha256.Size]byte
	msg    proto.Message
	refs   refs
	leaf   bool // refers to nothing
	disk   bool // from the file, and no control plane has confirmed it
	// synthetic stands for endpoints that never came: the cluster has none.
	synthetic bool
	refused   resource.Errors // by the Consumer, when it was tried last
}

// entry is all that is known of one resource.
type entry struct {
	key     key
	offered *version  // the newest that is valid and not refused; nil: there is none
	running *version  // in the set that runs; nil: not in it
	expires time.Time // when offered ends by its TTL; zero: never

	// refused are the errors of a newer version that was refused, parked that
	// version if it was valid by itself: it is tried again once something has
	// changed that may mend it (machine.changes has another value).
	refused  resource.Errors
	parked   *version
	parkedAt uint64
}

// empty reports whether nothing is known of the resource any more.
func (e *entry) empty() bool {
	return e.offered == nil && e.running == nil && e.refused == nil
}

// offer makes v the newest version.
func (e *entry) offer(v *version) {
	v.refused = nil
	e.offered, e.refused, e.parked, e.expires = v, nil, nil, time.Time{}
}

// refuse goes back to the version that runs, if any.
func (e *entry) refuse(errs resource.Errors, changes uint64) {
	e.offered.refused = errs
	e.parked, e.parkedAt, e.refused = e.offered, changes, errs
	e.offered = e.running
	if e.offered != nil && e.offered.synthetic {
		e.offered = nil
	}
}

// remove forgets what was offered; what runs goes on until the next set.
func (e *entry) remove() {
	e.offered, e.refused, e.parked, e.expires = nil, nil, nil, time.Time{}
}

// noEndpoints stands for an assignment that never came.
func noEndpoints(k key) *version {
	return &version{
		key: k, synthetic: true,
		msg: &endpointv3.ClusterLoadAssignment{ClusterName: k.name},
	}
}
