// Package controlplane puts a control plane together: sources fill an
// inventory, the engine makes resources of it for those nodes that are
// connected, and the xDS server spreads them.
//
//	source ──▶ inventory.Store ──▶ engine ──▶ xds/server ──▶ proxies
//	                                 │  ▲         │
//	              conditions ◀───────┘  └─────────┘ who is connected, ACK, NACK
//
// What a node gets depends on its reviewed identity alone (package trust): the
// objects of its namespace whose selector fits its pod's labels, each in the
// environment that the labels of the pod and the namespace choose.
package controlplane
