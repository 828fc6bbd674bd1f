// Package redisproto reads and writes the Redis protocol (RESP2 and RESP3)
// and knows the Redis commands: their arity, flags and keys.
//
// It works on bytes in memory. Nothing in it does I/O, takes a lock, reads a
// clock or logs. The parts:
//
//   - [Command] finds one request in a buffer. It can be resumed as more bytes
//     arrive, and skips payloads by their length.
//   - [FrameLen] finds the end of one reply that is wholly in a buffer;
//     [Scanner] does so for a reply that arrives in pieces and is not gathered.
//   - [ParseValue] and [Elements] read a reply where several are merged.
//   - Append functions write requests and replies behind a slice.
//   - [Slot] and [HashTag] say where a key belongs.
//   - [Lookup] finds a command's [Spec] in a table that is generated from
//     running servers, and [Spec.AppendKeys] its keys in a request.
//
// # Incomplete and malformed
//
// "More bytes are needed" is [ErrIncomplete]; "this can never become valid" is
// a [*ProtocolError], after which the connection has no frame boundary any
// more and must be closed.
//
// # Validity of slices
//
// Offsets in a [Command] are relative to the first byte of its frame, so the
// buffer may be moved between two calls. Slices that Arg, ParseValue and
// Elements return alias their input and live as long as it is not overwritten.
//
// # The command table
//
// table_gen.go is written by internal/gen/rediscommands from what running
// servers answer to COMMAND, and from Redis's published command reference for
// the commands that those servers lack (later versions, bundled modules). Its
// header names the versions; 255.255.255 is a development version, from between
// 7.4 and 8.0. To write it anew, start the servers that the go:generate line in
// lookup.go names, and put commands_core.json beside it. A key specification
// that is not enough to find the keys has an override in override.go.
//
// # Strictness
//
// Requests are held to what a Redis server accepts, and in two points to more,
// because what is forwarded shares a connection with other clients' requests:
// a header line must end in CRLF (Redis ignores the byte after CR), and so must
// a bulk (Redis ignores both bytes). A malformed length is refused at its first
// wrong byte, without waiting for the end of the line.
package redisproto
