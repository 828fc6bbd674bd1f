// Package filtertest runs the network filters of databases in tests: on a listener with real event loops, in a world whose clusters and secrets the
// test sets. Servers are those of package dbtest, or the test's own.
package filtertest
