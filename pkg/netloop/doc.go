// Package netloop runs event loops over Linux epoll.
//
// A [Loop] is one goroutine that owns its connections outright: downstream
// and upstream alike. Nothing on the data path is shared between loops, so
// there are no locks and no hand-over, and buffers come from the loop's own
// pool. A connection without traffic holds no buffer.
//
// Protocols are [Driver]s: state machines without I/O. The loop shows a driver
// the bytes that arrived; the driver appends bytes to connections; the loop
// writes every connection that became dirty once per iteration.
//
// One iteration:
//
//  1. wait for events
//  2. read downstream connections, their drivers append to upstream ones; then
//     look, at most twice, for more that has arrived meanwhile
//  3. write the dirty upstream connections
//  4. read upstream connections, their drivers append replies downstream
//  5. write the dirty downstream connections, but for corked ones, whose turn is
//     in the next iteration
//  6. run posted functions, timers, connections that asked for another turn
//
// Descriptors are registered once, edge-triggered, for reading, writing and
// the peer's shutdown; epoll_ctl is never called on the hot path.
//
// Unless a method says otherwise, everything here must be called on the loop's
// goroutine; from outside use [Loop.Post].
package netloop
