package show

import (
	"strings"
)

// Column is one column of a table.
type Column struct {
	Title string
	// Shrink lets the column become narrower, down to MinWidth, where the
	// table wouldn't fit. Columns that don't shrink show ids and times.
	Shrink bool
	// Least is the least width, so that tables printed one after the other
	// line up.
	Least int
}

// MinWidth is the least width of a column that shrinks.
const MinWidth = 8

const gap = "  "

// Cell is one value. Its text may come from anywhere: it is made Safe.
type Cell struct {
	Text  string
	Style Style
}

// Table lays out rows below a header. columns is the width of the terminal; 0
// means that there is none, and nothing is cut. Columns that a terminal has no
// room for go to a further line of each row, indented.
func Table(p Palette, columns int, head []Column, rows [][]Cell) string {
	return table(p, columns, head, rows, true)
}

// Rows is Table without the header, for what continues a table.
func Rows(p Palette, columns int, head []Column, rows [][]Cell) string {
	return table(p, columns, head, rows, false)
}

func table(p Palette, columns int, head []Column, rows [][]Cell, header bool) string {
	safe := make([][]Cell, len(rows), len(rows)+1)
	widths := make([]int, len(head))
	for i, c := range head {
		widths[i] = max(Width(c.Title), c.Least)
	}
	for r, row := range rows {
		safe[r] = make([]Cell, len(row))
		for i, c := range row {
			safe[r][i] = Cell{Safe(c.Text), c.Style}
			widths[i] = max(widths[i], Width(safe[r][i].Text))
		}
	}
	if header {
		titles := make([]Cell, len(head))
		for i, c := range head {
			titles[i] = Cell{c.Title, Bold}
		}
		safe = append([][]Cell{titles}, safe...)
	}
	spans := layOut(widths, head, columns)
	var b strings.Builder
	for _, row := range safe {
		for _, s := range spans {
			room := columns
			if s.indent != "" {
				room = max(columns-len(s.indent), 1)
			}
			b.WriteString(s.indent)
			writeRow(&b, p, row[s.from:s.to], widths[s.from:s.to], room)
		}
	}
	return b.String()
}

// span is the part of a row that takes one line.
type span struct {
	from, to int
	indent   string
}

// layOut shares the columns out among lines and makes them fit there.
func layOut(widths []int, head []Column, columns int) (spans []span) {
	if columns <= 0 {
		return []span{{to: len(head)}}
	}
	for from := 0; from < len(head); {
		s := span{from: from, to: from + 1}
		if from > 0 {
			s.indent = gap
		}
		room := columns - len(s.indent)
		for s.to < len(head) && least(widths[from:s.to+1], head[from:s.to+1]) <= room {
			s.to++
		}
		fit(widths[from:s.to], head[from:s.to], room)
		spans, from = append(spans, s), s.to
	}
	return spans
}

// least is the least width of these columns on one line.
func least(widths []int, head []Column) int {
	narrow := make([]int, len(widths))
	for i, w := range widths {
		narrow[i] = w
		if head[i].Shrink {
			narrow[i] = min(w, MinWidth)
		}
	}
	return total(narrow)
}

// fit takes columns away from the widest column that may shrink, until the
// line fits or nothing can shrink further.
func fit(widths []int, head []Column, columns int) {
	for over := total(widths) - columns; over > 0; over-- {
		widest := -1
		for i, c := range head {
			if c.Shrink && widths[i] > MinWidth && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

func total(widths []int) int {
	sum := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	return sum
}

// writeRow writes one line. Where even a single column is too wide for the
// terminal, the line is cut at its edge.
func writeRow(b *strings.Builder, p Palette, row []Cell, widths []int, columns int) {
	left := columns
	for i, c := range row {
		text, last := Truncate(c.Text, widths[i]), i == len(row)-1
		if columns > 0 {
			if left <= 0 {
				break
			}
			text = Truncate(text, left)
		}
		b.WriteString(p.Paint(c.Style, text))
		if last {
			break
		}
		padding := pad("", widths[i]-Width(text)) + gap
		left -= Width(text) + len(padding)
		if columns == 0 || left > 0 {
			b.WriteString(padding)
		}
	}
	b.WriteByte('\n')
}

// Fields lays out names and values below each other, values wrapped to the
// terminal. Empty values are left out.
func Fields(p Palette, columns int, names []string, values []Cell) string {
	widest := 0
	for i, n := range names {
		if values[i].Text != "" {
			widest = max(widest, Width(n))
		}
	}
	var b strings.Builder
	for i, n := range names {
		text := Safe(values[i].Text)
		if text == "" {
			continue
		}
		lines := []string{text}
		if room := columns - widest - len(gap); columns > 0 && room >= MinWidth {
			lines = Wrap(text, room)
		}
		for j, line := range lines {
			label := ""
			if j == 0 {
				label = n
			}
			b.WriteString(p.Paint(Bold, pad(label, widest)) + gap + p.Paint(values[i].Style, line) + "\n")
		}
	}
	return b.String()
}
