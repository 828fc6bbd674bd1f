// Package network tests the whole program in a network namespace of its own: what it takes from the machine that it runs on, such as a well-known
// port and names that resolve late, and peers whose cable is pulled.
package network
