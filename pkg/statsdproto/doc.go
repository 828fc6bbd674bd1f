// Package statsdproto reads and writes lines of StatsD: the original format,
// and the dialects of Librato, InfluxDB, SignalFX and DogStatsD.
//
//	name[tags]:value|type{|@rate|#k:v,...|c:container|T<seconds>}
//
// It works on bytes in memory; nothing in it does I/O, takes a lock, reads a
// clock or logs.
//
//   - [Line.Parse] reads a whole line, of one sample or of several, and says
//     what is wrong with it as a [Reason].
//   - [Cut] and [ParseValue] are the way of a line whose like was parsed before:
//     what is around its value is the key under which its meaning is kept.
//   - [Line.Append] writes a line that Parse reads back to the same.
//
// # What is accepted
//
// Lines mean what they mean to Prometheus's statsd_exporter 0.31, and what is
// wrong with a line has its names. Beyond it:
//
//   - sets (type s), whose members may hold colons;
//   - a container id without tags beside it (DogStatsD 1.2);
//   - the sections e: and card: of DogStatsD 1.4 and later, which are ignored as
//     T is, and so up to 8 sections instead of 6;
//   - a carriage return before the end of a line;
//   - a ']' before its '[' is a malformed tag, rather than the end of the process.
//
// # Validity of slices
//
// What a Line holds aliases the bytes it was parsed from, and the Line's own
// memory; both are overwritten by the next Parse.
package statsdproto
