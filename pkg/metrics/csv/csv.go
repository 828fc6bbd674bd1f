// Package csv makes metrics of tables whose first line names the columns.
package csv

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Limits of a table.
const (
	maxColumns = 1024
	maxRows    = 1 << 20
)

// New checks the rules and makes a source.
func New(cfg *resource.CSVSource, env metrics.Env) (*fetch.Source, error) {
	p, err := NewParser(cfg.Delimiter, cfg.Extract)
	if err != nil {
		return nil, err
	}
	return fetch.NewSource(&cfg.MetricsFetch, env, fetch.Config{}, p.Parse), nil
}

// Parser makes metrics of a table. It is read-only.
type Parser struct {
	delimiter rune
	rules     *rules.Set[cell]
}

// NewParser checks rules.
func NewParser(delimiter byte, extract []resource.Extraction) (*Parser, error) {
	for i := range extract {
		if extract[i].Value != "" {
			return nil, fmt.Errorf("extract[%d].value: the path is the column already; remove it", i)
		}
	}
	set, err := rules.Compile(rules.AllOf(extract), rules.Language[cell](language{}))
	if delimiter == 0 {
		delimiter = ','
	}
	return &Parser{delimiter: rune(delimiter), rules: set}, err
}

// Parse makes the families of a table; series bounds them, 0 is the default. An
// error with families says what could not be read.
func (p *Parser) Parse(text string, series int) ([]*dto.MetricFamily, error) {
	t, broken := p.read(text)
	if t == nil {
		return nil, broken
	}
	b := &families.Builder{Limit: series}
	problems := p.rules.Run(cell{table: t}, b)
	out, err := b.Done()
	return out, errors.Join(broken, problems, err)
}

// table is a text, read.
type table struct {
	columns []string
	rows    [][]string
}

// read gives the lines before the first that is broken.
func (p *Parser) read(text string) (*table, error) {
	text = strings.TrimPrefix(text, "\uFEFF") // Excel marks its files
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord = p.delimiter, -1
	r.TrimLeadingSpace = p.delimiter != '\t' // which is space as well: an empty cell would be gone, and its neighbour in its place
	columns, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the table is empty: its first line must name the columns")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the names of the columns: %w", err)
	}
	if len(columns) > maxColumns {
		return nil, fmt.Errorf("more than %d columns", maxColumns)
	}
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	t := &table{columns: columns}
	for {
		row, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			return t, nil
		case err != nil:
			return t, fmt.Errorf("reading the table: %w", err)
		case len(t.rows) >= maxRows:
			return t, fmt.Errorf("more than %d lines: the rest was left out", maxRows)
		}
		t.rows = append(t.rows, row)
	}
}

// cell is a place in a table, with what a star stood for.
type cell struct {
	table *table
	row   []string
	at    int
	star  string
}

// language finds columns by a pattern with a star, which a label may name as *.
type language struct{ rules.Names[cell] }

// Each implements rules.Language: each cell of the columns is a series.
func (language) Each(pattern string) (func(cell, func(cell)) error, error) {
	wanted, ok := rules.ParsePattern(pattern)
	if !ok {
		return nil, errors.New("at most one * may be in the name of a column")
	}
	return func(doc cell, yield func(cell)) error {
		var columns []cell
		for i, name := range doc.table.columns {
			if star, ok := wanted.Match(name); ok {
				columns = append(columns, cell{table: doc.table, at: i, star: star})
			}
		}
		if len(columns) == 0 {
			return fmt.Errorf("the column %q is %w", pattern, rules.ErrNotFound)
		}
		for _, row := range doc.table.rows {
			for _, c := range columns {
				c.row = row
				yield(c)
			}
		}
		return nil
	}, nil
}

// Text implements rules.Named.
func (c cell) Text() (string, error) {
	if c.at >= len(c.row) {
		return "", fmt.Errorf("a line ends before the column %q", c.table.columns[c.at])
	}
	return c.row[c.at], nil
}

// Star implements rules.Named.
func (c cell) Star() string { return c.star }

// Beside implements rules.Named: it is in another column of the line.
func (c cell) Beside(column string) (string, error) {
	i := slices.Index(c.table.columns, column)
	if i < 0 || i >= len(c.row) {
		return "", fmt.Errorf("the column %q is %w", column, rules.ErrNotFound)
	}
	return c.row[i], nil
}
