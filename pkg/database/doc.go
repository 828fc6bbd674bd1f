// Package database is what the filters of databases have in common, whatever their
// protocol. A protocol's types have these in them, and add the bytes:
//
//   - [Builder], [Filter] and [Part]: the filters of a process, one of them, and what
//     it has on one loop. They know the sessions, and who takes whose place.
//   - [Session]: a client's connection and its server's, from the accept to the end of
//     both. It asks [Protocol] for what has to be said, never for a packet.
//   - [Entry]: a session's way to its server, past the [Gate], credentials that may be
//     rotated ([Rotation]), endpoints (package sqlroute) and the turn to connect
//     ([Dials]). The login itself is the protocol's [Login].
//   - [QueryWatch] and [Spans]: slow queries and traces.
//   - [Metrics] and [Stats]: what is counted.
//
// All of a session is its loop's; what several loops share has a mutex.
package database
