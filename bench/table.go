package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"
)

// table is a Markdown table whose columns line up in plain text.
type table struct {
	titles []string
	left   int // so many columns hold text and are aligned to the left
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.titles))
	for _, row := range append([][]string{t.titles}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	t.writeRow(&b, t.titles, widths)
	for i, width := range widths {
		if i < t.left {
			b.WriteString("|:" + strings.Repeat("-", width) + "-")
			continue
		}
		b.WriteString("|-" + strings.Repeat("-", width) + ":")
	}
	b.WriteString("|\n")
	for _, row := range t.rows {
		t.writeRow(&b, row, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) writeRow(b *strings.Builder, row []string, widths []int) {
	for i, cell := range row {
		blank := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i < t.left {
			b.WriteString("| " + cell + blank + " ")
			continue
		}
		b.WriteString("| " + blank + cell + " ")
	}
	b.WriteString("|\n")
}

// number formats a measurement with about three digits; "-" for none.
func number(v float64) string {
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

// verdict is a value next to its goal.
type verdict struct {
	value, goal float64
	atLeast     bool // else at most
}

// reached compares what is shown, that is two digits after the point.
func (v verdict) reached() bool {
	shown := math.Round(v.value*100) / 100
	if v.atLeast {
		return shown >= v.goal
	}
	return shown <= v.goal
}

// String shows the value, the goal and whether it is reached.
func (v verdict) String() string {
	if math.IsNaN(v.value) {
		return "-"
	}
	if v.goal == 0 {
		return fmt.Sprintf("%.2f", v.value)
	}
	sign, mark := "<=", "no"
	if v.atLeast {
		sign = ">="
	}
	if v.reached() {
		mark = "ok"
	}
	return fmt.Sprintf("%.2f (%s %v) %s", v.value, sign, v.goal, mark)
}
