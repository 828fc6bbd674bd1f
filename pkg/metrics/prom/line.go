package prom

import (
	"errors"
	"math"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// errLine is a line that can not be read. What is wrong with it nobody is told:
// lines are counted.
var errLine = errors.New("malformed line")

// sample is a line with a value.
type sample struct {
	name   string
	labels []*dto.LabelPair // but le and quantile, as they come
	bound  string           // value of le or quantile; "": there is none
	value  float64
	stamp  *int64 // milliseconds since 1970

	exemplar *dto.Exemplar
}

// scanner reads a line from left to right.
type scanner struct {
	s    string
	open bool // OpenMetrics
}

func (c *scanner) blanks() {
	c.s = strings.TrimLeft(c.s, " \t")
}

// word takes what comes before a blank.
func (c *scanner) word() string {
	c.blanks()
	end := strings.IndexAny(c.s, " \t")
	if end < 0 {
		end = len(c.s)
	}
	w := c.s[:end]
	c.s = c.s[end:]
	return w
}

// sample reads a line. bounds says whether the labels le and quantile are those
// of a histogram or a summary.
func (c *scanner) sample(bounds func(name string) string) (sample, error) {
	var out sample
	end := strings.IndexAny(c.s, "{ \t")
	if end < 0 {
		return out, errLine
	}
	out.name, c.s = c.s[:end], c.s[end:]
	c.blanks()
	if strings.HasPrefix(c.s, "{") {
		c.s = c.s[1:]
		if err := c.labels(&out); err != nil {
			return out, err
		}
	}
	if out.name == "" {
		return out, errLine
	}
	out.split(bounds(out.name))
	var err error
	if out.value, err = number(c.word()); err != nil {
		return out, err
	}
	return out, c.rest(&out)
}

// split takes the label that says which bucket or quantile it is from the others.
func (s *sample) split(bound string) {
	if bound == "" {
		return
	}
	for i, l := range s.labels {
		if l.GetName() == bound {
			s.bound = l.GetValue()
			s.labels = append(s.labels[:i:i], s.labels[i+1:]...)
			return
		}
	}
}

// labels reads what is in braces, of which the first is open.
func (c *scanner) labels(out *sample) error {
	for {
		c.blanks()
		if rest, ok := strings.CutPrefix(c.s, "}"); ok {
			c.s = rest
			return nil
		}
		name, quoted, err := c.labelName()
		if err != nil {
			return err
		}
		c.blanks()
		if rest, ok := strings.CutPrefix(c.s, "="); ok {
			c.s = rest
			c.blanks()
			value, err := c.quoted()
			if err != nil {
				return err
			}
			out.labels = append(out.labels, &dto.LabelPair{Name: &name, Value: &value})
		} else if quoted && out.name == "" {
			out.name = name // {"name",label="value"}: a name with any characters
		} else {
			return errLine
		}
		c.blanks()
		if rest, ok := strings.CutPrefix(c.s, ","); ok {
			c.s = rest
		} else if !strings.HasPrefix(c.s, "}") {
			return errLine
		}
	}
}

func (c *scanner) labelName() (name string, quoted bool, err error) {
	if strings.HasPrefix(c.s, `"`) {
		name, err = c.quoted()
		return name, true, err
	}
	end := strings.IndexAny(c.s, "=,} \t\"")
	if end <= 0 {
		return "", false, errLine
	}
	name, c.s = c.s[:end], c.s[end:]
	return name, false, nil
}

// quoted reads text in double quotes.
func (c *scanner) quoted() (string, error) {
	if !strings.HasPrefix(c.s, `"`) {
		return "", errLine
	}
	c.s = c.s[1:]
	end := strings.IndexAny(c.s, `"\`)
	if end < 0 {
		return "", errLine
	}
	if c.s[end] == '"' {
		text := c.s[:end]
		c.s = c.s[end+1:]
		return text, nil
	}
	var b strings.Builder
	for i := 0; i < len(c.s); i++ {
		switch ch := c.s[i]; ch {
		case '"':
			c.s = c.s[i+1:]
			return b.String(), nil
		case '\\':
			if i++; i == len(c.s) {
				return "", errLine
			}
			b.WriteString(unescape(c.s[i]))
		default:
			b.WriteByte(ch)
		}
	}
	return "", errLine
}

func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case '"', '\\':
		return string(c)
	}
	return `\` + string(c)
}

// rest reads what comes after the value.
func (c *scanner) rest(out *sample) error {
	if c.blanks(); c.s != "" && c.s[0] != '#' {
		word := c.word()
		ms, err := c.timestamp(word)
		if err != nil {
			return err
		}
		out.stamp = &ms
	}
	c.blanks()
	if rest, ok := strings.CutPrefix(c.s, "#"); ok && c.open {
		c.s = rest
		out.exemplar = c.exemplar()
		return nil
	}
	if c.s != "" {
		return errLine
	}
	return nil
}

func (c *scanner) timestamp(word string) (int64, error) {
	if !c.open {
		ms, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			return 0, errLine
		}
		return ms, nil
	}
	seconds, err := number(word)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e15 {
		return 0, errLine
	}
	return int64(math.Round(seconds * 1000)), nil
}

// exemplar reads one; nil for one that can not be read, which costs nothing else.
func (c *scanner) exemplar() *dto.Exemplar {
	c.blanks()
	rest, ok := strings.CutPrefix(c.s, "{")
	if !ok {
		return nil
	}
	c.s = rest
	s := sample{name: "-"} // no label can be taken for a name
	if err := c.labels(&s); err != nil {
		return nil
	}
	v, err := number(c.word())
	if err != nil {
		return nil
	}
	e := &dto.Exemplar{Label: s.labels, Value: &v}
	if c.blanks(); c.s != "" {
		if at, err := number(c.word()); err == nil {
			e.Timestamp = stamp(at)
		}
	}
	return e
}

// number reads a value as both formats have them.
func number(s string) (float64, error) {
	if strings.ContainsAny(s, "xXpP_") { // Go's own ways to write one
		return 0, errLine
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errLine
	}
	return v, nil
}
