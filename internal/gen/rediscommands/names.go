package main

import (
	"fmt"
	"slices"
	"strings"
)

// name pairs the name of a flag in the protocol with the constant for it. An
// empty constant is a flag that has none.
type name struct{ wire, constant string }

// flagNames are the flags of commands. A flag that is not here stops the
// generator, so that a new one is noticed.
var flagNames = []name{
	{"write", "Write"},
	{"readonly", "ReadOnly"},
	{"denyoom", "DenyOOM"},
	{"module", "Module"},
	{"admin", "Admin"},
	{"pubsub", "PubSub"},
	{"noscript", "NoScript"},
	{"blocking", "Blocking"},
	{"loading", "Loading"},
	{"stale", "Stale"},
	{"skip_monitor", "SkipMonitor"},
	{"skip_slowlog", "SkipSlowlog"},
	{"asking", "Asking"},
	{"fast", "Fast"},
	{"no_auth", "NoAuth"},
	{"may_replicate", "MayReplicate"},
	{"no_mandatory_keys", "NoMandatoryKeys"},
	{"no_async_loading", "NoAsyncLoading"},
	{"no_multi", "NoMulti"},
	{"movablekeys", "MovableKeys"},
	{"allow_busy", "AllowBusy"},
	{"script_runner", "ScriptRunner"},
}

// keyFlagNames are the flags of key specifications.
var keyFlagNames = []name{
	{"RO", "KeyRO"},
	{"RW", "KeyRW"},
	{"OW", "KeyOW"},
	{"RM", "KeyRM"},
	{"access", "KeyAccess"},
	{"insert", "KeyInsert"},
	{"update", "KeyUpdate"},
	{"delete", "KeyDelete"},
	{"not_key", "KeyNotKey"},
	{"incomplete", "KeyIncomplete"},
	{"variable_flags", "KeyVariableFlags"},
}

// constants returns the Go expression for flags, in the order of names.
func constants(flags []string, names []name) (string, error) {
	var out []string
	for _, n := range names {
		if slices.Contains(flags, n.wire) {
			out = append(out, n.constant)
		}
	}
	for _, f := range flags {
		if !slices.ContainsFunc(names, func(n name) bool { return n.wire == f }) {
			return "", fmt.Errorf("flag %q is new", f)
		}
	}
	return strings.Join(out, " | "), nil
}
