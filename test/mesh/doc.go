// Package mesh tests the two programs together from outside: a control plane
// that reads files, proxies that take their configuration from it, real Redis
// servers behind them.
package mesh
