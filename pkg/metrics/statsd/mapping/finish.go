package mapping

import "regexp"

// fill gives the defaults what statsd_exporter gives them.
func (def *defaults) fill() {
	r := &def.rule
	if len(r.Histogram.Buckets) == 0 {
		r.Histogram.Buckets = defaultBuckets()
	}
	if r.Histogram.NativeFactor == 0 {
		r.Histogram.NativeFactor = defaultNativeFactor
	}
	if r.Histogram.NativeMaxBuckets == 0 {
		r.Histogram.NativeMaxBuckets = defaultNativeMaxBuckets
	}
	if len(r.Summary.Quantiles) == 0 {
		r.Summary.Quantiles = defaultQuantiles()
	}
	r.Types = [types]bool{true, true, true}
}

// finish checks a rule and gives it what the defaults say.
func (d *decoder) finish(u *unset, def *defaults) {
	r := &u.rule
	r.Regex = def.regexes
	if u.regex != nil {
		r.Regex = *u.regex
	}
	r.Types = def.rule.Types
	if u.forType != nil {
		r.Types = [types]bool{}
		r.Types[*u.forType] = true
	}
	d.patterns(u)
	r.Observer = def.rule.Observer
	if u.observer != nil {
		r.Observer = *u.observer
	}
	// Only where it is said what observations become, as in statsd_exporter.
	explicit := u.observer != nil || def.observer != nil
	switch {
	case explicit && r.Observer == Histogram && u.summary != nil:
		d.fail(u.summary, u.path+".summary_options", "can't be used with the observer type histogram")
	case explicit && r.Observer == Summary && u.histogram != nil:
		d.fail(u.histogram, u.path+".histogram_options", "can't be used with the observer type summary")
	}
	inherit(r, &def.rule)
}

func (d *decoder) patterns(u *unset) {
	r := &u.rule
	switch {
	case r.Name == "":
		d.fail(u.node, u.path+".name", "is needed, also where the action is drop")
	case !namePattern.MatchString(r.Name):
		d.fail(u.node, u.path+".name", "%q is no name of a metric: letters, digits, underscores and references ($1, ${1}), no digit first", r.Name)
	}
	if r.Regex {
		var err error
		if r.regex, err = regexp.Compile(r.Match); err != nil {
			d.fail(u.node, u.path+".match", "is no regular expression: %v", err)
		}
		return
	}
	if !globPattern.MatchString(r.Match) {
		d.fail(u.node, u.path+".match", "%q is no glob: fields of letters, digits, _ and -, or * for a whole field, separated by dots "+
			"(match_type: regex for anything else)", r.Match)
	}
}

// inherit gives a rule the options that it does not have of its own.
func inherit(r, def *Rule) {
	if r.TTL == 0 {
		r.TTL = def.TTL
	}
	if len(r.Histogram.Buckets) == 0 {
		r.Histogram.Buckets = def.Histogram.Buckets
	}
	if r.Histogram.NativeFactor <= 0 {
		r.Histogram.NativeFactor = def.Histogram.NativeFactor
	}
	if r.Histogram.NativeMaxBuckets == 0 {
		r.Histogram.NativeMaxBuckets = def.Histogram.NativeMaxBuckets
	}
	if len(r.Summary.Quantiles) == 0 {
		r.Summary.Quantiles = def.Summary.Quantiles
	}
	if r.Summary.MaxAge == 0 {
		r.Summary.MaxAge = def.Summary.MaxAge
	}
	if r.Summary.AgeBuckets == 0 {
		r.Summary.AgeBuckets = def.Summary.AgeBuckets
	}
	if r.Summary.BufCap == 0 {
		r.Summary.BufCap = def.Summary.BufCap
	}
}

// compile makes what Match needs of the rules, which are sound.
func (f *File) compile() {
	for i, r := range f.Rules {
		captures := 0
		if r.Regex {
			f.regexes = append(f.regexes, r)
		} else {
			if f.globs == nil {
				f.globs = &node{first: i}
			}
			r.stars = f.globs.add(r.Match, i, r.Types)
			captures = len(r.stars)
		}
		r.name = newTemplate(r.Name, captures)
		for k := range r.Labels {
			r.Labels[k].parts = newTemplate(r.Labels[k].Template, captures)
		}
	}
}
