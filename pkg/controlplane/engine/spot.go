package engine

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// spot is where it runs.
func (n *node) spot() translate.Spot {
	if n.kind == nil {
		return translate.Spot{}
	}
	return translate.Spot{Zone: n.kind.zone, NodeName: n.nodeName}
}

// local: nodes of a kind are granted different resources.
func (k *kind) local() bool {
	return slices.ContainsFunc(k.variants, func(v *variant) bool { return v.counts.NodeName })
}

// atSpot has a variant translated for a spot at which nobody needed it before.
func (e *Engine) atSpot(v *variant, spot translate.Spot, b *batch) {
	if v.counts == (translate.Counts{}) {
		return // it is the same at all of them
	}
	spot = v.counts.Of(spot)
	if _, ok := v.uses[spot]; !ok {
		b.extend(v, spot)
	}
}

// spots are what counts of those of the nodes that need a variant, sorted.
func (v *variant) spots(counts translate.Counts) []translate.Spot {
	spots := map[translate.Spot]struct{}{}
	for k := range v.kinds {
		spots[counts.Of(translate.Spot{Zone: k.zone})] = struct{}{} // also without nodes
		if counts.NodeName {
			for n := range k.nodes {
				spots[counts.Of(n.spot())] = struct{}{}
			}
		}
	}
	for n := range v.askers {
		spots[counts.Of(n.spot())] = struct{}{}
	}
	return slices.SortedFunc(maps.Keys(spots), func(a, b translate.Spot) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), cmp.Compare(a.NodeName, b.NodeName))
	})
}

// extend translates a variant for spots at which nobody needed it before. What it
// is at others stays: nodes come one by one, and each may have a spot of its own.
func (e *Engine) extend(v *variant, spots map[translate.Spot]struct{}, b *batch) {
	outputs := map[translate.Spot]*resource.Set{}
	at := e.translation(v, b)
	for spot := range spots {
		if at == nil {
			return
		}
		set, counts, err := at(spot)
		if err != nil || counts != v.counts {
			e.renew(v, time.Time{}, b)
			return
		}
		outputs[spot] = set
	}
	uses, made, err := v.resources(outputs, v.counts)
	if err != nil { // it is about to be told
		e.renew(v, time.Time{}, b)
		return
	}
	for key, r := range made {
		e.put(key, r, time.Time{}, b)
	}
	for spot, list := range uses {
		v.uses[spot] = list
		for _, u := range list {
			e.resources[u.key].users[v] = struct{}{}
		}
	}
}

// translation gives what translates a variant for a spot, or nil where there is
// nothing to translate.
func (e *Engine) translation(v *variant, b *batch) translation {
	if v.key.port != 0 {
		if v.service == nil {
			return nil
		}
		return func(spot translate.Spot) (*resource.Set, translate.Counts, error) {
			e.metrics.translations.Inc()
			set, counts, err := translate.GRPCService(v.service, v.key.port, spot, e.opts.Domain)
			return &set, counts, err
		}
	}
	a := e.good[v.key.object]
	if a == nil {
		return nil
	}
	return func(spot translate.Spot) (*resource.Set, translate.Counts, error) {
		out := e.translate(v, a, spot, b)
		v.conditions = out.Conditions
		return &out.Set, out.Counts, nil
	}
}

type translation func(translate.Spot) (*resource.Set, translate.Counts, error)

// bySpot translates a variant for all spots that are needed, as far as they count.
func (v *variant) bySpot(at translation) (outputs map[translate.Spot]*resource.Set, counts translate.Counts, err error) {
	outputs, counts = map[translate.Spot]*resource.Set{}, v.counts
	for again := true; again; {
		again = false
		for _, spot := range v.spots(counts) {
			if outputs[spot] != nil {
				continue
			}
			set, now, err := at(spot)
			if err != nil {
				return nil, translate.Counts{}, err
			}
			if now != counts { // and the spots are others
				counts, again = now, true
				clear(outputs)
				outputs[counts.Of(spot)] = set
				break
			}
			outputs[spot] = set
		}
	}
	return outputs, counts, nil
}
