// Package client is the ADS client of the proxy: it keeps the resources that a
// control plane has for this node, and hands complete sets of them to a
// Consumer that makes them run.
//
// Listeners and clusters are asked for as a whole; endpoints, secrets, routes
// and extensions by the names that those refer to. A listener waits for what it
// names; what never comes is given up after Options.ResourceTimeout, so that one
// missing secret holds up one listener and nothing else, and not even that if it is new
// and the secret is what a server is logged in at with: a database's listener holds its
// clients, and Redis' gives them errors. Every resource is
// validated by itself as it arrives: a bad one keeps its old version and is
// refused (NACK) with name, field path and reason, the others of the same
// response are taken. The same happens to one that the Consumer refuses.
//
// A response that carries listeners is acknowledged once they run, or cannot:
// an ACK means "programmed". Everything else is acknowledged once it is valid
// and, where it goes into the running set at once, runs.
//
// The incremental protocol (delta) is tried first, state-of-the-world is the
// fallback. The last set that ran is kept on disk without secrets, and used at
// start when no control plane answers soon. What a control plane then says nothing
// of stays with delta, which says what is gone, and goes with the other one.
//
// The protocol itself (machine) does no I/O and reads no clock: messages go in,
// requests and sets come out. Client moves them.
package client
