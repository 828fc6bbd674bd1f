// Package logs ships the lines of files: pkg/logs/tail reads them, pkg/logs/parse
// makes records of them, and a sink of pkg/logs/sink takes these in batches.
//
// Nothing is lost across a restart: how far a file has been delivered moves only
// when the sink has taken what is before, so that some records may come twice.
// There are three batches, and while the sink has one and another waits, reading
// stops when the third is full: the files are the buffer.
package logs
