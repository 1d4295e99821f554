package show

// Style says how a text stands out. On a terminal without colour it doesn't.
type Style int

// The styles.
const (
	Plain Style = iota
	Bold
	Dim
	Good
	Warn
	Bad
)

// Palette applies styles; the zero Palette applies none.
type Palette struct{ Colour bool }

// Paint returns s in the style.
func (p Palette) Paint(style Style, s string) string {
	codes := [...]string{Bold: "1", Dim: "2", Good: "32", Warn: "33", Bad: "1;31"}
	if !p.Colour || style == Plain || s == "" {
		return s
	}
	return "\x1b[" + codes[style] + "m" + s + "\x1b[0m"
}
