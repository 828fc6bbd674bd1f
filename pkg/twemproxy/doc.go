// Package twemproxy reads the configuration of twemproxy (nutcracker) and says
// the same in this project's own documents.
//
// The package is pure: it touches no file, no network and no clock. [Parse] is
// as strict as nutcracker 0.5.0 and reports every error of a file at once,
// each with its line; [Documents] makes an Ambassador of every pool.
package twemproxy
