package families

import "strings"

// Name makes the name of a metric or label of any text: what is not allowed
// becomes _, and one stands before a digit at the beginning.
func Name(s string) string {
	ok := s != "" && (s[0] < '0' || s[0] > '9')
	for i := 0; i < len(s) && ok; i++ {
		ok = allowed(s[i])
	}
	if ok {
		return s
	}
	var b strings.Builder
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		b.WriteByte('_')
	}
	for _, r := range s {
		if r < 0x80 && allowed(byte(r)) {
			b.WriteByte(byte(r))
		} else {
			b.WriteByte('_')
		}
	}
	return b.String()
}

func allowed(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// Snake makes a name of words that begin with capital letters: maxThreadsBusy
// becomes max_threads_busy, HTTPRequests http_requests.
func Snake(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 && runes[i-1] != '_' {
			before, after := runes[i-1], rune(0)
			if i+1 < len(runes) {
				after = runes[i+1]
			}
			if (before < 'A' || before > 'Z') && before != ' ' && before != '-' && before != '.' || after >= 'a' && after <= 'z' && before >= 'A' && before <= 'Z' {
				b.WriteByte('_')
			}
		}
		if upper {
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return Name(b.String())
}

// MetricName is Name for metrics, in whose names a colon is allowed.
func MetricName(s string) string {
	if !strings.Contains(s, ":") {
		return Name(s)
	}
	parts := strings.Split(s, ":")
	for i := range parts {
		if i == 0 && parts[0] != "" {
			parts[0] = Name(parts[0])
			continue
		}
		parts[i] = strings.TrimPrefix(Name("x"+parts[i]), "x")
	}
	return strings.Join(parts, ":")
}
