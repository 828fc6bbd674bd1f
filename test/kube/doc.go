// Package kube tests the two programs in a cluster, from outside: a real API
// server, control planes with the rights of their own manifest and no others,
// proxies with the tokens of their pods, and real Redis servers behind them.
package kube
