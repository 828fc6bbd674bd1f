// Rediscommands writes the table of Redis commands of package redisproto.
//
// It asks running servers for COMMAND and COMMAND DOCS and merges what they
// say; a later server wins over an earlier one. With -docs it reads the same
// facts from the command reference that Redis publishes as one JSON object
// (commands_core.json), for commands that none of the servers has, such as those
// of modules that are not loaded.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	var addrs list
	flag.Var(&addrs, "addr", "host:port of a server; may be repeated")
	docs := flag.String("docs", "", "file with the published command reference")
	out := flag.String("out", "", "Go file to write")
	flag.Parse()
	if err := run(addrs, *docs, *out); err != nil {
		fmt.Fprintln(os.Stderr, "rediscommands:", err)
		os.Exit(1)
	}
}

func run(addrs []string, docs, out string) error {
	table := map[string]*command{}
	var sources []string
	for _, addr := range addrs {
		version, cmds, err := askServer(addr)
		if err != nil {
			return fmt.Errorf("asking %q: %w", addr, err)
		}
		for _, c := range cmds {
			merge(table, c, true)
		}
		sources = append(sources, fmt.Sprintf("server %s (%d commands)", version, len(cmds)))
	}
	if docs != "" {
		cmds, err := readReference(docs)
		if err != nil {
			return fmt.Errorf("reading %q: %w", docs, err)
		}
		added := 0
		for _, c := range cmds {
			if merge(table, c, false) {
				added++
			}
		}
		sources = append(sources, fmt.Sprintf("the published reference (%d more commands)", added))
	}
	src, err := emit(table, sources)
	if err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return os.WriteFile(out, src, 0o644)
}

// merge puts c into the table and reports whether it was not there. Subcommands
// that only the older entry has stay.
func merge(table map[string]*command, c *command, replace bool) bool {
	old := table[c.name]
	if old == nil {
		table[c.name] = c
		return true
	}
	subs := old.subs
	for name, sub := range c.subs {
		if subs[name] == nil || replace {
			subs[name] = sub
		}
	}
	if replace {
		*old = *c
		old.subs = subs
	}
	return false
}
