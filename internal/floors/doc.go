// Package floors keeps the architecture: a test that reads the import graph with go list and fails when a package imports upwards, when a
// pure package does I/O, or when the proxy would be linked with something that it must not carry.
package floors
