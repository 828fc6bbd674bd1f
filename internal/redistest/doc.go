// Package redistest starts real Redis servers, Redis Clusters, Sentinels and twemproxy on loopback for tests and benchmarks, and speaks
// RESP to them byte for byte.
//
// Everything that it starts listens on 127.0.0.1 on a port that it holds until the end of the test, and is killed by its process id when
// the test ends, or by the kernel when the test binary dies. A missing program fails the test: a skipped test proves nothing.
//
// It shares no code with the product on purpose: the frame reader here is the yardstick for the product's codec.
package redistest
