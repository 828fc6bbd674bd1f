package server

import (
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
)

// The type URLs that a proxy asks for.
const (
	ClusterType   = resourcev3.ClusterType
	EndpointType  = resourcev3.EndpointType
	ListenerType  = resourcev3.ListenerType
	RouteType     = resourcev3.RouteType
	SecretType    = resourcev3.SecretType
	ExtensionType = resourcev3.ExtensionConfigType
)

// rank is a type's place in the order in which types are sent.
type rank uint8

const (
	rankCluster rank = iota
	rankEndpoint
	rankListener
	rankRoute
	rankSecret
	rankExtension
	rankOther
)

// ranks is a set of ranks.
type ranks uint8

func rankSet(members ...rank) ranks {
	var set ranks
	for _, r := range members {
		set |= 1 << r
	}
	return set
}

func (s ranks) has(r rank) bool { return s&(1<<r) != 0 }

func rankOf(typeURL string) rank {
	switch typeURL {
	case ClusterType:
		return rankCluster
	case EndpointType:
		return rankEndpoint
	case ListenerType:
		return rankListener
	case RouteType:
		return rankRoute
	case SecretType:
		return rankSecret
	case ExtensionType:
		return rankExtension
	default:
		return rankOther
	}
}

// wildcard says whether a type can be asked for as a whole: listeners and
// clusters only, as the protocol has it.
func (r rank) wildcard() bool { return r == rankCluster || r == rankListener }

// changesAfter is what must have been sent before a change of this rank may be:
// make before break.
func (r rank) changesAfter() ranks {
	switch r {
	case rankListener:
		return rankSet(rankCluster, rankEndpoint)
	case rankRoute:
		return rankSet(rankCluster, rankEndpoint, rankListener)
	default:
		return 0
	}
}

// removalsAfter is what might still name something of this rank: its news must
// have been sent and answered before the client is told to drop that.
func (r rank) removalsAfter() ranks {
	switch r {
	case rankRoute, rankExtension:
		return rankSet(rankListener)
	case rankEndpoint, rankCluster:
		return rankSet(rankListener, rankRoute)
	case rankSecret:
		return rankSet(rankListener, rankCluster)
	default:
		return 0
	}
}

// removalsBefore is of what the removals go out first. Other news of it doesn't
// matter: endpoints change all the time.
func (r rank) removalsBefore() ranks {
	if r == rankCluster {
		return rankSet(rankEndpoint)
	}
	return 0
}

// dismantling is a rank's place when a batch of removals is spread.
func (r rank) dismantling() int {
	switch r {
	case rankListener:
		return 0
	case rankRoute:
		return 1
	case rankEndpoint:
		return 2
	case rankCluster:
		return 3
	default:
		return 4
	}
}
