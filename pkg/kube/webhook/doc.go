// Package webhook answers the API server's questions before it stores an object:
// it gives pods their proxy, and refuses mesh objects that are wrong.
//
// # Which pods get a proxy
//
// Those of namespaces that carry the label mesh.dragoman.io/inject=enabled, but for
// pods with the label or annotation mesh.dragoman.io/inject=disabled, and pods on
// the network of their node. The API server asks for these alone, and the answer
// looks again.
//
// # What a pod gets
//
// A container, two volumes and an annotation. The container is the first of the
// init containers and stays (a native sidecar), so that it is up before the app
// begins and gone after it has ended: a Job comes to its end. On clusters that do not
// know these it is the first of the containers, whose postStart holds the others
// back. It keeps the restricted Pod Security Standard. Nothing else in the pod is
// touched, and a pod that has its proxy already is left as it is, so that the API
// server may ask again after other webhooks.
//
// # What a pod may say
//
// Annotations, each of which is checked; one that is not known is refused with
// the name that was probably meant:
//
//	mesh.dragoman.io/proxy-image         image of the proxy
//	mesh.dragoman.io/proxy-log-level     debug, info, warn or error
//	mesh.dragoman.io/proxy-cpu           CPU that is asked for, as 50m
//	mesh.dragoman.io/proxy-cpu-limit     CPU that it may use at most; none by default
//	mesh.dragoman.io/proxy-memory        memory that is asked for, as 32Mi
//	mesh.dragoman.io/proxy-memory-limit  memory that it may use at most
//	mesh.dragoman.io/proxy-hints         enabled: the app's containers learn where each Ambassador
//	                                     listens, by the variables DRAGOMAN_<NAME>_HOST and _PORT,
//	                                     or _PATH for a unix socket
//	mesh.dragoman.io/capture-ports       as 6379,5432:15432: connections of the pod to these ports, wherever
//	                                     they go, come to the Ambassadors that listen there (pkg/capture);
//	                                     an init container with NET_ADMIN does it
//	mesh.dragoman.io/log-folders         as /var/log/nginx,/data/logs: the proxy may read these folders of
//	                                     the app's volumes, for an Adapter of logs that comes later
//
// # Log files
//
// Where Adapters of logs that select the pod name files on the app's volumes, the proxy
// gets these volumes, at the same places and to be read only; where an Adapter names the
// file of its positions, the volume of that to be written. Positions of others are
// with the proxy's state. Of themselves Adapters reach emptyDirs and claims alone: what
// else a pod has mounted, as Secrets, is its own to give, by the annotation.
package webhook
