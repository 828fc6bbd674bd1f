// Package mysqlproto reads and writes the client/server protocol of MySQL and
// MariaDB, as a proxy needs it.
//
// It works on bytes in memory. Nothing in it does I/O, takes a lock, reads a
// clock, draws random numbers or logs. The parts:
//
//   - [Framer] finds messages in a stream that arrives in any pieces, without
//     gathering them: their heads are shown, payloads are skipped by length.
//   - [Tracker] is told the messages of both directions and knows where the
//     response to each command ends, and whether a transaction is open.
//   - [Greeting], [HandshakeResponse], [ChangeUser], [AuthSwitch] are what is
//     said before the first command; [Capabilities] are what both sides agree on.
//   - [Auth] is the client's side of authentication, with a floor under what a
//     server may ask for. [CheckResponse] is the server's side, to check an app.
//   - [OK], [EOF] and [ServerError] are how responses end.
//
// Parse functions take, and Append functions write, payloads: what follows the
// four bytes of length and sequence number. [AppendPacket] makes packets of them.
//
// Sources: the "Client/Server Protocol" chapters of the MySQL 8.4 source
// documentation and of the MariaDB knowledge base. Where both differ, comments
// say whose it is.
//
// # Incomplete and malformed
//
// "More bytes are needed" is [ErrIncomplete]; "this can never become valid" is
// a [*ProtocolError], after which the connection must be closed.
//
// # Validity of slices
//
// Slices that Parse functions and [Framer.Payload] return alias their input
// and live as long as it is not overwritten. Strings are copies.
package mysqlproto
