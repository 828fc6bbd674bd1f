package gauge

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// Table is a Markdown table whose columns line up in plain text.
type Table struct {
	Titles []string
	Left   int // so many columns hold text and are aligned to the left
	Rows   [][]string
}

// Add appends a row.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write prints the table.
func (t *Table) Write(w io.Writer) error {
	widths := make([]int, len(t.Titles))
	for _, row := range append([][]string{t.Titles}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	t.writeRow(&b, t.Titles, widths)
	for i, width := range widths {
		if i < t.Left {
			b.WriteString("|:" + strings.Repeat("-", width) + "-")
			continue
		}
		b.WriteString("|-" + strings.Repeat("-", width) + ":")
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		t.writeRow(&b, row, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *Table) writeRow(b *strings.Builder, row []string, widths []int) {
	for i, cell := range row {
		blank := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i < t.Left {
			b.WriteString("| " + cell + blank + " ")
			continue
		}
		b.WriteString("| " + blank + cell + " ")
	}
	b.WriteString("|\n")
}

// Section is a table under its title.
type Section struct {
	Title string
	Table Table
}

// WriteSections prints those that have rows, as Markdown.
func WriteSections(w io.Writer, sections ...Section) error {
	for _, s := range sections {
		if len(s.Table.Rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "## %s\n\n", s.Title); err != nil {
			return err
		}
		if err := s.Table.Write(w); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}

// Number formats a measurement with about three digits; "-" for none.
func Number(v float64) string {
	switch {
	case math.IsNaN(v) || v == 0:
		return "-"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// Verdict is a value next to its goal.
type Verdict struct {
	Value, Goal float64
	AtLeast     bool // else at most
}

// Reached compares what is shown, that is two digits after the point.
func (v Verdict) Reached() bool {
	shown := math.Round(v.Value*100) / 100
	if v.AtLeast {
		return shown >= v.Goal
	}
	return shown <= v.Goal
}

// String shows the value, the goal and whether it is reached.
func (v Verdict) String() string {
	if math.IsNaN(v.Value) {
		return "-"
	}
	if v.Goal == 0 {
		return fmt.Sprintf("%.2f", v.Value)
	}
	sign, mark := "<=", "no"
	if v.AtLeast {
		sign = ">="
	}
	if v.Reached() {
		mark = "ok"
	}
	return fmt.Sprintf("%.2f (%s %v) %s", v.Value, sign, v.Goal, mark)
}
