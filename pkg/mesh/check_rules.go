package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func (c *checker) extractions(list []Extraction, at string, json bool) {
	for i := range list {
		x := &list[i]
		here := fmt.Sprintf("%s[%d]", at, i)
		c.require(isMetricName(x.Name), here+".name", fmt.Sprintf("%q is not the name of a metric", clip(x.Name)), "letters, digits, _ and :")
		if json {
			c.require((x.Path != "") != (x.Query != ""), here, "needs exactly one of path and query", "")
			c.require(x.Query == "" || x.Value == "" && len(x.Labels) == 0, here+".query", "gives values and labels itself", "remove value and labels")
		} else {
			c.require(x.Path != "", here+".path", "is missing", "")
			c.require(x.Query == "", here+".query", "is for json alone", "use path")
		}
		c.labels(x.Labels, here+".labels")
		c.require(x.Type != MetricHistogram && x.Type != MetricSummary, here+".type", "must be counter, gauge or unknown", "")
	}
}

func (c *checker) metricsRules(rules []MetricsRule, at string) {
	for i := range rules {
		c.metricsRule(&rules[i], fmt.Sprintf("%s[%d]", at, i))
	}
}

func (c *checker) metricsRule(r *MetricsRule, at string) {
	groups := 0
	if re := c.pattern(r.Match, at+".match"); re != nil {
		groups = re.NumSubexp()
	}
	for _, name := range slices.Sorted(maps.Keys(r.MatchLabels)) {
		c.pattern(r.MatchLabels[name], join(at+".matchLabels", name))
	}
	c.labels(r.Labels, at+".labels")
	changes := count(r.Name != "", len(r.Labels) > 0, r.Type != "", r.Help != "", r.Unit != nil, r.Scale != nil, len(r.ValueMap) > 0, r.TTL != nil)
	if r.Action == RuleDrop {
		c.require(changes == 0, at, "changes what it drops", "remove action: Drop, or the rest")
		c.require(r.Match != "" || r.MatchType != "" || len(r.MatchLabels) > 0, at, "drops everything", "say what matches")
		return
	}
	c.require(changes > 0, at, "changes nothing", "set name, labels, type, help, unit, scale, valueMap, ttl or action: Drop")
	if r.Name != "" && !strings.Contains(r.Name, "$") {
		c.require(isMetricName(r.Name), at+".name", fmt.Sprintf("%q is not the name of a metric", clip(r.Name)), "letters, digits, _ and :")
	}
	c.require(groups > 0 || !strings.Contains(r.Name, "$"), at+".name", "refers to a group that match does not have", `as in match: "app_(.*)"`)
	c.require(len(r.MatchLabels) == 0 || r.Type == "" && r.Help == "" || r.Name != "", at, "changes type or help of some series of a metric only", "give these a name of their own")
	c.require(r.Type != MetricHistogram && r.Type != MetricSummary, at+".type", "must be counter, gauge or unknown", "other types can not be made of numbers")
	c.require(r.Unit == nil || r.Scale == nil, at+".scale", "is there besides unit", "remove one")
	if u := r.Unit; u != nil {
		c.unit(u, at+".unit")
	}
	c.positive(r.TTL, at+".ttl")
}

func (c *checker) unit(u *UnitConversion, at string) {
	if u.From == "" {
		c.fail(at+".from", "is missing", oneOf(u.From.Values()))
		return
	}
	base, _, _ := u.From.Base()
	if u.To == "" {
		c.require(u.From != base, at, fmt.Sprintf("%s is a base unit", u.From), "say to what it is converted")
		return
	}
	other, _, _ := u.To.Base()
	c.require(base == other, at, fmt.Sprintf("%s can not become %s", u.From, u.To), "")
	c.require(u.From != u.To, at, "converts a unit to itself", "")
}

// Base gives the base unit of a unit, and how a value becomes one in it:
// multiplied, then added to.
func (u Unit) Base() (base Unit, scale, offset float64) {
	switch u {
	case "nanoseconds":
		return "seconds", 1e-9, 0
	case "microseconds":
		return "seconds", 1e-6, 0
	case "milliseconds":
		return "seconds", 1e-3, 0
	case "minutes":
		return "seconds", 60, 0
	case "hours":
		return "seconds", 3600, 0
	case "days":
		return "seconds", 86400, 0
	case "bits":
		return "bytes", 0.125, 0
	case "kilobytes":
		return "bytes", 1e3, 0
	case "megabytes":
		return "bytes", 1e6, 0
	case "gigabytes":
		return "bytes", 1e9, 0
	case "kibibytes":
		return "bytes", 1 << 10, 0
	case "mebibytes":
		return "bytes", 1 << 20, 0
	case "gibibytes":
		return "bytes", 1 << 30, 0
	case "percent":
		return "ratio", 0.01, 0
	case "fahrenheit":
		return "celsius", 5.0 / 9, -160.0 / 9
	}
	return u, 1, 0
}

func (c *checker) relabelings(list []Relabeling, at string) {
	for i := range list {
		c.relabeling(&list[i], fmt.Sprintf("%s[%d]", at, i))
	}
}

// relabeling checks what Prometheus checks of a relabel_config.
func (c *checker) relabeling(r *Relabeling, at string) {
	c.pattern(r.Regex, at+".regex")
	action := strings.ToLower(string(r.Action))
	switch action {
	case "", "replace", "hashmod", "lowercase", "uppercase", "keepequal", "dropequal":
		c.require(r.TargetLabel != "", at+".targetLabel", "is missing", "")
	case "labeldrop", "labelkeep":
		c.require(len(r.SourceLabels) == 0 && r.TargetLabel == "" && r.Modulus == 0 && r.Replacement == nil, at, "takes regex alone", "remove the rest")
	}
	c.require((action == "hashmod") == (r.Modulus > 0), at+".modulus", "goes with hashmod, which needs one", "")
	if !strings.Contains(r.TargetLabel, "$") {
		c.require(r.TargetLabel == "" || isIdentifier(r.TargetLabel), at+".targetLabel", "is not the name of a label", "")
	}
}
