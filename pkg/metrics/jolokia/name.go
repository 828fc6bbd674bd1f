package jolokia

import (
	"errors"
	"fmt"
	"strings"
)

// maxName bounds the name of an MBean.
const maxName = 4096

// objectName is the name of an MBean, or a pattern of such.
type objectName struct {
	text       string
	domain     string
	properties []property // in order
	pattern    bool
}

type property struct{ key, value string }

// get finds a property.
func (n objectName) get(key string) (string, bool) {
	for _, p := range n.properties {
		if p.key == key {
			return p.value, true
		}
	}
	return "", false
}

var errName = errors.New("is not the name of an MBean, as in java.lang:type=Memory")

// parseName reads domain:key=value,key="quoted",* as javax.management.ObjectName
// has it.
func parseName(text string) (objectName, error) {
	domain, rest, ok := strings.Cut(text, ":")
	if !ok || rest == "" || len(text) > maxName {
		return objectName{}, fmt.Errorf("%.80q %w", text, errName)
	}
	n := objectName{text: text, domain: domain, pattern: strings.ContainsAny(domain, "*?")}
	for rest != "" {
		if rest == "*" {
			n.pattern = true
			break
		}
		if after, ok := strings.CutPrefix(rest, "*,"); ok {
			n.pattern, rest = true, after
			continue
		}
		key, after, ok := strings.Cut(rest, "=")
		if !ok || key == "" {
			return objectName{}, fmt.Errorf("%.80q %w", text, errName)
		}
		value, raw, after, err := cutValue(after)
		if err != nil {
			return objectName{}, fmt.Errorf("%.80q %w", text, err)
		}
		n.pattern = n.pattern || strings.ContainsAny(raw, "*?")
		n.properties = append(n.properties, property{key, value})
		rest = after
	}
	return n, nil
}

// cutValue takes the value of a property off the text, without its quotes.
func cutValue(text string) (value, raw, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		value, rest, _ = strings.Cut(text, ",")
		return value, value, rest, nil
	}
	var out strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
			rest = text[i+1:]
			if rest != "" {
				if rest[0] != ',' {
					return "", "", "", errName
				}
				rest = rest[1:]
			}
			return out.String(), text[1:i], rest, nil
		case '\\':
			if i++; i == len(text) {
				return "", "", "", errName
			}
			if text[i] == 'n' {
				out.WriteByte('\n')
			} else {
				out.WriteByte(text[i])
			}
		default:
			out.WriteByte(c)
		}
	}
	return "", "", "", errName
}
