// Package nettest is the other end of connections in tests, and breaks networks for them.
package nettest
