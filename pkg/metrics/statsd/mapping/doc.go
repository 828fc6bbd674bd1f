// Package mapping reads the mapping files of Prometheus's statsd_exporter and
// finds the rule for a metric, its name and its labels.
//
// It is pure: it touches no file, no network and no clock. [Parse] reports every
// error of a file at once, each with its line; [File.Match] walks a tree of the
// globs' fields, and then tries the regular expressions in order.
//
// # Where it differs from statsd_exporter 0.31
//
// What that accepts is accepted, with these differences:
//
//   - A glob that is the beginning of another one before it matches, too
//     (a.b below a.b.c), and one that is there twice keeps the first place: the
//     first rule of the file that matches wins, as its documentation has it.
//   - glob_disable_ordering always goes back to try another way, so that a
//     metric that some glob matches is not missed.
//   - Templates may hold a percent sign, and $1 beside $10.
//   - summary_options without max_age, age_buckets or buf_cap take these from
//     the defaults, also where observer_type is not given.
//   - What made the exporter end at the first sample is refused when the file is
//     read: buckets that do not increase, quantiles outside of 0 to 1.
//   - The keys that 0.31 took away (timer_type, buckets, quantiles of a mapping
//     or of the defaults, match_metric_type: timer) are still read, and labels of
//     one letter are allowed.
package mapping
