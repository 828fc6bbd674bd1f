package engine

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// maxRefusals bounds the reasons that a status holds, maxRefusal each of them.
const (
	maxRefusals = 5
	maxRefusal  = 512
)

// programmed counts who runs an object, into s as well.
func (e *Engine) programmed(key inventory.Ref, s *inventory.Status) inventory.Condition {
	denied := e.denied(key, s)
	if denied != nil {
		s.Denied, s.DeniedReason = denied.message, denied.reason
	}
	unpublished := ""
	for _, v := range e.sortedVariants(key) {
		e.coverage(v, s)
		if v.err != nil {
			unpublished = v.err.Error()
		}
	}
	with := func(status inventory.ConditionStatus, reason, message string) inventory.Condition {
		return condition(inventory.ConditionProgrammed, status, reason, message)
	}
	bare := ""
	if a := e.good[key]; a != nil {
		bare = e.selectedBare(key.Namespace, mesh.SelectorOf(a))
	}
	count := fmt.Sprintf("%d of %d proxies", s.Running, s.Proxies)
	switch {
	case unpublished != "":
		s.Problem, s.ProblemReason = unpublished, reasonUnpublished
	case bare != "":
		s.Problem, s.ProblemReason = bare, reasonWithout
	}
	switch {
	case s.Refused > 0:
		return with(inventory.StatusFalse, reasonRefused, fmt.Sprintf("%d of %d proxies refused it: %s", s.Refused, s.Proxies, strings.Join(s.Refusals, "; ")))
	case denied != nil:
		return with(inventory.StatusFalse, denied.reason, fmt.Sprintf("%s run it; others do not: %s", count, denied.message))
	case s.Problem != "":
		return with(inventory.StatusFalse, s.ProblemReason, count+" run it; "+s.Problem)
	case s.Proxies == 0:
		return with(inventory.StatusUnknown, reasonNoProxies, "no connected proxy is selected"+e.uninjected(key.Namespace))
	case s.Running < s.Proxies:
		return with(inventory.StatusUnknown, reasonPending, count+" run it")
	}
	return with(inventory.StatusTrue, reasonProgrammed, count+" run it")
}

// denied counts the nodes that an object is for, and finds a reason why some of
// them do not get it.
func (e *Engine) denied(key inventory.Ref, s *inventory.Status) *choice {
	var denied *choice
	for k := range e.placeOf(key.Namespace).kinds {
		i, ok := slices.BinarySearchFunc(k.choices, key, func(c choice, key inventory.Ref) int { return c.object.Compare(key) })
		if !ok || len(k.nodes) == 0 {
			continue
		}
		s.Proxies += len(k.nodes)
		c := &k.choices[i]
		if c.reason != "" && (denied == nil || c.message < denied.message) {
			denied = c
		}
	}
	return denied
}

// coverage adds what nodes made of a variant. A node runs it if it has accepted
// its listeners, and refuses it if it refuses any part.
func (e *Engine) coverage(v *variant, s *inventory.Status) {
	running, refused := -1, 0
	counted := map[server.Key]struct{}{} // most are the same at all spots
	for _, list := range v.uses {
		for _, u := range list {
			if _, ok := counted[u.key]; ok {
				continue
			}
			counted[u.key] = struct{}{}
			listener := u.key.TypeURL == server.ListenerType
			// Forgotten before it is looked up: a NACK that comes meanwhile is noted
			// again.
			if !e.forgetRefusal(u.key) && !listener {
				continue // counting costs something for each who follows it
			}
			c := e.server.Coverage(u.key)
			if listener && (running < 0 || c.Acked < running) {
				running = c.Acked // of several, the one that the fewest have
			}
			if c.Refused == 0 {
				continue
			}
			e.noteRefusal(u.key)
			if reasons := blamed(u.name, c.Refusals); len(reasons) > 0 {
				refused = max(refused, c.Refused)
				addRefusals(s, reasons)
			}
		}
	}
	nodes := 0
	for k := range v.kinds {
		nodes += len(k.nodes)
	}
	refused = min(refused, nodes)
	s.Refused += refused
	s.Running += max(min(running, nodes-refused), 0)
}

// blamed gives the reasons of refusals that are about a resource: those that
// name it, and those that name none of the refused.
func blamed(name string, refusals []server.NodeRefusal) []string {
	var out []string
	for _, r := range refusals {
		text := r.Refusal.Message
		if mentions(text, name) || !slices.ContainsFunc(r.Refusal.Keys, func(k server.Key) bool {
			other, _, _ := strings.Cut(k.ID, separator)
			return mentions(text, other)
		}) {
			out = append(out, text)
		}
	}
	return out
}

// mentions reports whether a text has a name that does not go on.
func mentions(text, name string) bool {
	for {
		_, rest, ok := strings.Cut(text, name)
		if !ok {
			return false
		}
		if rest == "" || !strings.ContainsRune("/-abcdefghijklmnopqrstuvwxyz0123456789", rune(rest[0])) {
			return true
		}
		text = rest
	}
}

func addRefusals(s *inventory.Status, reasons []string) {
	for _, r := range reasons {
		r = printable(r)
		if len(s.Refusals) < maxRefusals && !slices.Contains(s.Refusals, r) {
			s.Refusals = append(s.Refusals, r)
		}
	}
	slices.Sort(s.Refusals)
}

// printable makes what a node says fit for a status and a terminal: one line of
// bounded length, without control characters.
func printable(s string) string {
	if len(s) > maxRefusal {
		s = s[:maxRefusal] + "..."
	}
	s = strings.ReplaceAll(strings.TrimSpace(strings.ToValidUTF8(s, "?")), "\n", "; ")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
