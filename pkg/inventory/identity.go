package inventory

import (
	"errors"
	"time"
)

// ErrUnauthenticated is what a review gives for credentials that are wrong,
// expired or not meant for a control plane. Any other error means that nobody
// could say.
var ErrUnauthenticated = errors.New("not authenticated")

// Identity is who a proxy is, according to the review of its credentials and to
// nothing that it says itself.
type Identity struct {
	Namespace      string
	ServiceAccount string // "" outside Kubernetes
	// Pod is the name of the pod that the credentials are bound to, or of the
	// node that a nodes file names; "" if they are bound to none. PodUID must be
	// that of the Pod in the inventory, or the labels of that are not its own.
	Pod    string
	PodUID string
	// Expires is when the credentials end; zero: never.
	Expires time.Time
}
