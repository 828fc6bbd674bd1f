// Package statsd takes lines of StatsD over UDP, TCP and unix datagrams, and has
// the counters, gauges, histograms, summaries and sets that they come to.
// README.md says what becomes of what.
//
// # The way of a line
//
// Many datagrams are read by one system call (pkg/netloop/mmsg), and a
// connection in pieces of 64 KiB; the store's lock is taken once for all that was
// read. [statsdproto.Cut] finds what is around the value of a line. That is
// looked up in a table of lines which were there before, whose entry says
// which series is meant; the value is added, and that is all. Only a line
// that is new is parsed, mapped and given a series. So nothing takes memory
// that is not new, and nothing is locked or atomic for a single line.
//
// # What is bounded
//
// Series (samples of further ones are counted as lost), entries of the table,
// the length of a line, connections and what is read of each, the members of
// a set (an estimate beyond 512), the observations of a summary (packed beyond
// 256), and the buckets of a native histogram.
package statsd
