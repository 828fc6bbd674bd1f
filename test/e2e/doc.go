// Package e2e tests the built program from outside: the proxy is started as a user starts it, in front of real servers, and is spoken to
// by the clients that people use.
package e2e
