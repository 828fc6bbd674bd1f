// Package controlplane tests the control plane's program from outside.
package controlplane
