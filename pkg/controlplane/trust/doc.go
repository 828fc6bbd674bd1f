// Package trust holds what the two sides of the xDS port believe each other by:
// the authority that signs the control plane's certificate, the certificate
// that is rotated under living connections, and the review of what a proxy
// shows.
package trust
