// Package trust holds what the two sides of the xDS port believe each other by:
// the authority that signs the control plane's certificate, the certificate
// that is rotated under living connections, and the review of what a proxy
// shows.
//
// # Nodes outside Kubernetes
//
// A nodes file says whose token or client certificate is whose, and what is to be
// known of such a node. It counts as a pod with these labels:
//
//	nodes:
//	- name: vm-1
//	  namespace: shop
//	  tokenSHA256: 8d9c...              # of the token, in hex; or token: the token itself
//	  expires: 2027-01-01T00:00:00Z     # absent: it does not
//	  labels: {app: web}
//	  environment: prod                 # stands for the label mesh.dragoman.io/environment
//	  zone: a
//	- name: vm-2
//	  namespace: shop
//	  commonName: vm-2.example          # of a certificate of --client-ca-file; or uri: ...
//	  labels: {app: web}
//
// A client certificate with the URI spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT needs no
// entry: it is in that namespace, and has no labels.
//
// # The authority's life
//
// It is good for ten years. In the last two the next one is made and published
// beside it; a week later that signs, and after another week the former is no
// longer published. Certificates live for a day and are replaced after two thirds
// of it; a connection keeps the one that it began with.
package trust
