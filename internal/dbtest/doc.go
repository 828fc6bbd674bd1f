// Package dbtest starts real PostgreSQL and MariaDB servers on loopback for tests and benchmarks: a user for every method of
// authentication, TLS with certificates made on the fly, standbys, and helpers that stop, kill and freeze them.
//
// Ports, certificates, polling and the life of a process are those of package redistest. A server's data directory is made once for a
// machine and version (it lies in the temporary directory, named dragoman-dbtest-...), and copied for each server.
//
// The servers refuse to run as root: under root they run as the users that Debian's packages make, postgres and mysql. A missing program
// fails the test: a skipped test proves nothing.
package dbtest
