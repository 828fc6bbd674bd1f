package statsd

import "time"

// began is when the program did.
var began = time.Now() //nolint:gochecknoglobals // never written to

// clock is a time in ns since the epoch by the clock as it was when the program
// began: whoever sets it afterwards neither stops windows and times to live nor ends
// them early.
func clock(at time.Time) int64 { return began.UnixNano() + int64(at.Sub(began)) }

// wall is the time of the clock as it is now; what it was set by since, in seconds.
func wall(now int64) time.Time {
	at := time.Now()
	set := time.Duration(at.UnixNano() - clock(at))
	return time.Unix(0, now).Add(set.Round(time.Second))
}
