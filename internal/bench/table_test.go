package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/assert"
)

// row is one figure. Without a target it is for information.
type row struct {
	what      string
	yardstick string // what it is compared with, measured in the same run
	measured  string
	ratios    []float64 // measured by yardstick, one for each round
	target    float64   // of the median ratio
	atLeast   bool      // the target is a lower bound; otherwise an upper one
}

// ratio is the median of the rounds: one that another program disturbed counts
// as little as possible.
func (r row) ratio() float64 { return median(r.ratios) }

func (r row) met() bool {
	if r.atLeast {
		return r.ratio() >= r.target
	}
	return r.ratio() <= r.target
}

func (r row) verdict() string {
	switch {
	case r.target == 0:
		return ""
	case r.met():
		return "PASS"
	}
	return "SHORT OF TARGET"
}

func (r row) cells() []string {
	var ratio, spread, target string
	if len(r.ratios) > 0 {
		ratio = r.show(r.ratio())
		spread = r.show(slices.Min(r.ratios)) + " … " + r.show(slices.Max(r.ratios))
	}
	if r.target != 0 {
		bound := "≤ "
		if r.atLeast {
			bound = "≥ "
		}
		target = bound + r.show(r.target)
	}
	return []string{r.what, r.yardstick, r.measured, ratio, spread, target, r.verdict()}
}

// show writes shares as percentages and multiples as such.
func (r row) show(ratio float64) string {
	if r.atLeast {
		return fmt.Sprintf("%.0f %%", 100*ratio)
	}
	return fmt.Sprintf("%.2f ×", ratio)
}

func (r row) String() string { return strings.TrimRight(strings.Join(r.cells(), " | "), " |") }

// table is everything that was measured.
type table struct {
	head string
	rows []row
}

func (t *table) String() string {
	var b strings.Builder
	b.WriteString(t.head + "\n\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(cells ...string) { _, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) } // a Builder takes everything
	line("FIGURE", "YARDSTICK", "MEASURED", "RATIO", "OF ROUNDS", "TARGET", "")
	short := 0
	for _, r := range t.rows {
		line(r.cells()...)
		if r.target != 0 && !r.met() {
			short++
		}
	}
	_ = w.Flush()
	if short > 0 {
		fmt.Fprintf(&b, "\n%d short of target\n", short)
	}
	return b.String()
}

// median of nothing is zero.
func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// percentile is the smallest value that p percent of the values don't exceed
// (nearest rank).
func percentile(took []time.Duration, p float64) time.Duration {
	if len(took) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(took))
	rank := int(float64(len(s))*p/100 + 0.9999999)
	return s[min(max(rank, 1), len(s))-1]
}

// short is a duration in three digits or so.
func short(d time.Duration) string {
	switch {
	case d.Abs() < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

func TestTheTableMarksWhatMissesItsTarget(t *testing.T) {
	table := &table{head: "head", rows: []row{
		{what: "share met", ratios: []float64{0.2, 0.3, 0.25}, target: 0.25, atLeast: true},
		{what: "share missed", ratios: []float64{0.2, 0.9, 0.24}, target: 0.25, atLeast: true},
		{what: "multiple met", ratios: []float64{9, 1.2, 1}, target: 1.2},
		{what: "multiple missed", ratios: []float64{1.3, 1.2}, target: 1.2},
		{what: "information", measured: "5 MiB"},
	}}
	lines := strings.Split(table.String(), "\n")
	for i, want := range []string{"PASS", "SHORT OF TARGET", "PASS", "SHORT OF TARGET", "5 MiB"} {
		assert.True(t, strings.HasSuffix(strings.TrimRight(lines[3+i], " "), want), lines[3+i])
	}
	assert.Contains(t, table.String(), "\n2 short of target\n")
}

func TestPercentilesAreOfTheNearestRank(t *testing.T) {
	var took []time.Duration
	for i := 100; i > 0; i-- {
		took = append(took, time.Duration(i))
	}
	assert.Equal(t, []time.Duration{1, 50, 99, 100, 0},
		[]time.Duration{percentile(took, 0), percentile(took, 50), percentile(took, 99), percentile(took, 100), percentile(nil, 50)})
}
