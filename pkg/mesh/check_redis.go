package mesh

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxRing is Envoy's bound on the points of a ring_hash ring.
const maxRing = 8 << 20

// maxTable is Envoy's bound on a maglev table.
const maxTable = 5_000_011

// maxHotKeys bounds what a sampled key costs: a look at some counters for each.
const maxHotKeys = 1000

// maxDatabase is the most that Redis can be configured for.
const maxDatabase = 1<<31 - 1

func (c *checker) redis(r *RedisSpec, at string) {
	if r == nil {
		return
	}
	c.hashing(r, at)
	c.positive(r.ConnectTimeout, at+".connectTimeout")
	c.atLeastOne(r.ConnectionsPerEndpoint, at+".connectionsPerEndpoint")
	c.database(r.Database, at+".database")
	c.checks(r.HealthCheck, r.OutlierDetection, r.RequestLimit, at)
	c.routes(r, at)
	c.users(r.Users, at+".users")
	for i, name := range r.CustomCommands {
		c.require(isCommand(name), fmt.Sprintf("%s.customCommands[%d]", at, i),
			fmt.Sprintf("%q is not the name of a command", clip(name)), "lower case, as in json.get")
	}
	if h := r.HotKeys; h != nil {
		c.atLeastOne(h.SampleRate, at+".hotKeys.sampleRate")
		c.atLeastOne(h.Top, at+".hotKeys.top")
		c.require(h.Top == nil || *h.Top <= maxHotKeys, at+".hotKeys.top", fmt.Sprintf("must be at most %d", maxHotKeys), "")
	}
	if s := r.SlowLog; s != nil && s.MaxLen != nil {
		c.require(*s.MaxLen <= 1<<16, at+".slowLog.maxLen", "must be at most 65536", "")
	}
}

func (c *checker) hashing(r *RedisSpec, at string) {
	d := r.Distribution
	if d == "" {
		d = DistributionKetama
	}
	twemproxy := d == DistributionKetama || d == DistributionModula
	c.require(r.Hash == "" || twemproxy, at+".hash",
		"goes with the distributions ketama and modula only", "remove it: "+string(d)+" has its own")
	c.require(len(r.HashTag) == 0 || len(r.HashTag) == 2, at+".hashTag", "must be two characters", `as in "{}"`)
	if e := r.AutoEject; e != nil {
		c.require(twemproxy || d == DistributionRandom, at+".autoEject",
			"goes with the distributions ketama, modula and random only", "use outlierDetection")
		c.atLeastOne(e.Failures, at+".autoEject.failures")
		c.positive(e.RetryAfter, at+".autoEject.retryAfter")
	}
	c.ring(r, d, at)
}

func (c *checker) ring(r *RedisSpec, d Distribution, at string) {
	if s := r.RingSize; s != nil {
		c.require(d == DistributionRingHash, at+".ringSize", "goes with the distribution ring_hash only", "remove it")
		low, high := uint64(1024), uint64(maxRing)
		if s.Min != nil {
			low = *s.Min
		}
		if s.Max != nil {
			high = *s.Max
		}
		c.require(low >= 1 && low <= high && high <= maxRing, at+".ringSize",
			fmt.Sprintf("must be 1 <= min <= max <= %d", maxRing), "")
	}
	if n := r.TableSize; n != nil {
		c.require(d == DistributionMaglev, at+".tableSize", "goes with the distribution maglev only", "remove it")
		c.require(*n <= maxTable && isPrime(*n), at+".tableSize",
			fmt.Sprintf("must be a prime, at most %d", maxTable), "65537 is the default")
	}
}

func isPrime(n uint64) bool {
	for i := uint64(2); i*i <= n; i++ {
		if n%i == 0 {
			return false
		}
	}
	return n >= 2
}

func (c *checker) database(n *uint32, at string) {
	c.require(n == nil || *n <= maxDatabase, at, "is not a database number", "")
}

// checks looks at what redis and tcp have in common.
func (c *checker) checks(h *HealthCheck, o *OutlierDetection, l *RequestLimit, at string) {
	if h != nil {
		c.positive(h.Interval, at+".healthCheck.interval")
		c.positive(h.Timeout, at+".healthCheck.timeout")
		c.atLeastOne(h.UnhealthyThreshold, at+".healthCheck.unhealthyThreshold")
		c.atLeastOne(h.HealthyThreshold, at+".healthCheck.healthyThreshold")
		c.require(h.HTTP == nil || at == "spec.http", at+".healthCheck.http", "goes with protocol http only", "remove it")
	}
	if o != nil {
		c.atLeastOne(o.ConsecutiveFailures, at+".outlierDetection.consecutiveFailures")
		c.positive(o.Interval, at+".outlierDetection.interval")
		c.positive(o.BaseEjection, at+".outlierDetection.baseEjection")
		c.positive(o.MaxEjection, at+".outlierDetection.maxEjection")
		if o.BaseEjection != nil && o.MaxEjection != nil {
			c.require(*o.BaseEjection <= *o.MaxEjection, at+".outlierDetection.maxEjection",
				"must not be shorter than baseEjection", "")
		}
		c.require(o.MaxEjectionPercent == nil || *o.MaxEjectionPercent <= 100,
			at+".outlierDetection.maxEjectionPercent", "must be at most 100", "")
	}
	if l != nil {
		c.atLeastOne(l.MaxConnections, at+".requestLimit.maxConnections")
		c.atLeastOne(l.MaxPending, at+".requestLimit.maxPending")
		c.atLeastOne(l.MaxRequests, at+".requestLimit.maxRequests")
	}
}

func (c *checker) routes(r *RedisSpec, at string) {
	c.mirrors(r.Mirrors, at+".mirrors")
	seen := make(map[string]int, len(r.PrefixRoutes))
	for i, route := range r.PrefixRoutes {
		here := fmt.Sprintf("%s.prefixRoutes[%d].prefix", at, i)
		key := route.Prefix
		if r.CaseInsensitivePrefixes {
			key = strings.ToLower(key)
		}
		c.mirrors(route.Mirrors, fmt.Sprintf("%s.prefixRoutes[%d].mirrors", at, i))
		first, double := seen[key]
		seen[key] = i
		c.require(route.Prefix != "", here, "is missing",
			"keys without a route go to the environment's own servers")
		c.require(!double, here, fmt.Sprintf("prefixRoutes[%d] has the same prefix", first), "remove one")
	}
}

func (c *checker) mirrors(ms []Mirror, at string) {
	for i, m := range ms {
		c.require(m.Pool != "", fmt.Sprintf("%s[%d].pool", at, i), "is missing", "name a pool of the environments")
	}
}

func (c *checker) users(users []User, at string) {
	seen := make(map[string]bool, len(users))
	for i, u := range users {
		here := fmt.Sprintf("%s[%d]", at, i)
		c.require(u.Name != "" && !strings.ContainsAny(u.Name, " \t\r\n\x00"), here+".name",
			"a name without spaces is needed", `"default" is who logs in with a password alone`)
		c.require(!seen[u.Name], here+".name", fmt.Sprintf("user %q is there twice", clip(u.Name)), "remove one")
		seen[u.Name] = true
		sources := count(u.PasswordFile != "", u.PasswordEnv != "", u.PasswordSecret != nil, u.NoPassword)
		c.require(sources == 1, here, "needs exactly one password source",
			oneOf([]string{"passwordFile", "passwordEnv", "passwordSecret", "noPassword"}))
		if u.PasswordSecret != nil {
			c.secret(u.PasswordSecret.Name, here+".passwordSecret", "use passwordFile or passwordEnv")
			c.dataKey(u.PasswordSecret.Key, here+".passwordSecret.key")
		}
		if u.Commands != nil {
			c.rules(u.Commands.Allow, here+".commands.allow")
			c.rules(u.Commands.Deny, here+".commands.deny")
		}
	}
}

// categories are those of ACL CAT, of the servers from 7.0 to 8.x.
func categories() []string {
	return []string{
		"@all", "@keyspace", "@read", "@write", "@set", "@sortedset", "@list", "@hash", "@string",
		"@bitmap", "@hyperloglog", "@geo", "@stream", "@pubsub", "@admin", "@fast", "@slow",
		"@blocking", "@dangerous", "@connection", "@transaction", "@scripting",
		"@bloom", "@cuckoo", "@cms", "@topk", "@tdigest", "@search", "@timeseries", "@json", "@vectorset",
	}
}

func (c *checker) rules(rules []string, at string) {
	for i, rule := range rules {
		here := fmt.Sprintf("%s[%d]", at, i)
		if strings.HasPrefix(rule, "@") {
			c.require(slices.Contains(categories(), rule), here,
				fmt.Sprintf("unknown category %q", clip(rule)), DidYouMean(rule, categories()))
			continue
		}
		name, sub, _ := strings.Cut(rule, "|")
		c.require(isCommand(name) && (sub == "" || isCommand(sub)), here,
			fmt.Sprintf("%q is neither a command nor a category", clip(rule)), `as in "get", "config|get" or "@write"`)
	}
}

var commandName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

func isCommand(s string) bool { return commandName.MatchString(s) }

func count(conditions ...bool) int {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}
