package record

// Severity is OpenTelemetry's SeverityNumber: 1 to 24, 0 for none.
type Severity uint8

// The first of each range, and those that syslog's names have.
const (
	Trace  Severity = 1
	Debug  Severity = 5
	Info   Severity = 9
	Notice Severity = 10
	Warn   Severity = 13
	Error  Severity = 17
	Crit   Severity = 18
	Alert  Severity = 19
	Fatal  Severity = 21
)

// String gives the short name of the range, as the data model has it.
func (s Severity) String() string {
	switch {
	case s == 0 || s > 24:
		return ""
	case s < Debug:
		return "TRACE"
	case s < Info:
		return "DEBUG"
	case s < Warn:
		return "INFO"
	case s < Error:
		return "WARN"
	case s < Fatal:
		return "ERROR"
	}
	return "FATAL"
}

// maxSeverityText bounds what can be the name of a severity.
const maxSeverityText = 16

// SeverityOf finds what a text means: the names of syslog, of loggers of all
// languages, klog's letters, and the numbers of syslog (0 to 7) and of bunyan
// and pino (10 to 60); 0 if it means nothing.
func SeverityOf(text []byte) Severity {
	if len(text) == 0 || len(text) > maxSeverityText {
		return 0
	}
	var lower [maxSeverityText]byte
	for i, c := range text {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(text)]) {
	case "trace", "trc", "finest", "finer", "10", "verbose":
		return Trace
	case "debug", "dbg", "fine", "d", "20", "7":
		return Debug
	case "info", "information", "informational", "inf", "i", "log", "30", "6", "config":
		return Info
	case "notice", "5":
		return Notice
	case "warn", "warning", "wrn", "w", "40", "4":
		return Warn
	case "error", "err", "e", "severe", "eror", "50", "3":
		return Error
	case "crit", "critical", "dpanic", "2":
		return Crit
	case "alert", "1":
		return Alert
	case "fatal", "emerg", "emergency", "panic", "f", "ftl", "60", "0":
		return Fatal
	}
	return 0
}
