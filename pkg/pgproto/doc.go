// Package pgproto reads and writes the PostgreSQL frontend/backend protocol,
// version 3.0 and its later minor versions, as a proxy needs it.
//
// It works on bytes in memory. Nothing in it does I/O, takes a lock, reads a
// clock, draws random numbers or logs. The parts:
//
//   - [ParseStartup] reads what a client sends first: a [Startup] message, a
//     request for encryption, a cancel request.
//   - [Framer] finds messages in a stream that arrives in any pieces, without
//     gathering them: their heads are shown, payloads are skipped by length.
//   - [Tracker] is told the messages of both directions and knows when no
//     transaction, COPY or pipeline is under way.
//   - [Auth] is the client's side of authentication (cleartext, MD5,
//     SCRAM-SHA-256 with and without channel binding) with a floor under what
//     a server may ask for. [SCRAMServer] is the server's side, to check an app.
//   - Append functions write what a proxy says itself; Parse functions read
//     the payloads that a proxy looks into. They take and give payloads, which
//     is what follows the type byte and the four bytes of the length.
//
// Section numbers in comments are those of the chapter "Frontend/Backend
// Protocol" in the PostgreSQL 18 documentation.
//
// # Incomplete and malformed
//
// "More bytes are needed" is [ErrIncomplete]; "this can never become valid" is
// a [*ProtocolError], after which the connection has no message boundary any
// more and must be closed. What authentication refuses is an [*AuthError].
//
// # Validity of slices
//
// Slices that Parse functions and [Framer.Payload] return alias their input
// and live as long as it is not overwritten. Strings are copies.
package pgproto
