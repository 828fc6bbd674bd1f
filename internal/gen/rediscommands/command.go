package main

// command is what the sources tell of one command.
type command struct {
	name         string // lower case; subcommands: "container|name"
	arity        int
	flags        []string
	first, last  int
	step         int
	categories   []string
	tips         []string
	keySpecs     []keySpec
	subs         map[string]*command
	since, group string
}

type keySpec struct {
	flags []string
	begin search
	find  search
}

// search is one half of a key specification: its type and numbers by name.
type search struct {
	kind    string
	keyword string
	args    map[string]int
}

// legacyRange derives first key, last key and step from key specifications as
// COMMAND does: from the ranges at a constant place that follow each other.
func (c *command) legacyRange() {
	for _, k := range c.keySpecs {
		if k.begin.kind != "index" || k.find.kind != "range" {
			continue
		}
		first, last, step := k.begin.args["index"], k.find.args["lastkey"], k.find.args["keystep"]
		if last >= 0 {
			last += first
		}
		switch {
		case c.first == 0:
			c.first, c.last, c.step = first, last, step
		case c.last >= 0 && first == c.last+1 && step == c.step:
			c.last = last
		}
	}
}
