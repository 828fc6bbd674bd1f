// Package upstream runs the clusters of a process: it finds their endpoints,
// knows their roles, checks their health and publishes the tables that filters
// route by.
//
// A [Set] holds all clusters. Each cluster has
//
//   - a discovery that yields a layout: the shards, in their order, and the
//     addresses in each (static.go, dns.go, rediscluster.go, sentinel.go);
//   - members, one for each endpoint, with all that is learnt of it: failures,
//     checks, role. A member has one goroutine that probes it when that is due
//     (member.go, monitor.go);
//   - a table, rebuilt whenever the layout, a role or the set of live shards
//     changes (table.go, picker.go, roles.go).
//
// # Health
//
// An endpoint is healthy until something speaks against it: active checks, as
// configured; failures that filters report, with the thresholds of the
// configuration or, without any, one failed connect or five other failures in a
// row. While it is unhealthy it is probed with a jittered back-off of at most a
// second, and the first good probe ends what failed connects began.
//
// An unhealthy endpoint stays in the table, so that its keys get an error at
// once; only with auto_eject_hosts is its shard taken out of the distribution.
//
// # Databases
//
// A check of a database logs in as the environment's user does, keeps the
// connection, and asks what the server is (package sqlprobe). Where the check says
// so, the answers decide who is the primary: there is never more than one, and of
// several that say they are, the one of the higher timeline is, else the one that
// already was (roles.go). Sessions keep to one endpoint, so their filters are told
// of changes (watch.go).
//
// # Topology
//
// What a discovery found stays in force until it finds something else; failures
// change nothing. It asks again at the configured rate, and sooner when there is
// a cause: [filters.Cluster] Refresh, an endpoint that fails, an event of a
// Sentinel (rhythm.go). An endpoint that leaves the topology is remembered for
// 30 s: nodes are absent for a moment while they change roles, and shall find
// their connections again.
//
// # Replacement
//
// [Set.Prepare] builds what is new or changed and starts it beside what runs;
// nobody but the holder of the [Change] knows it, so filters can be built on it
// and made ready, until Commit makes it the running set or Abort forgets it.
// Clusters whose specification did not change go on untouched, and so do those of
// which EDS gives other endpoints: they have a new table. A changed cluster takes
// over the members whose address, name, shard and TLS settings are the same, with
// their Endpoint pointers, which are the key to the filters' connections. Replaced
// clusters go on working until [Set.Release].
package upstream
