package show

import (
	"strings"

	"rsc.io/qr"
)

// quiet is the margin that scanners need, in modules (ISO/IEC 18004 says 4).
const quiet = 4

// QR draws a text as a QR code, two modules to a character; "" where it doesn't
// fit into that many columns. With colours it is black on white whatever the
// terminal's own are; without, it is light on dark, which scanners take too.
func QR(text string, colour bool, columns int) string {
	code, err := qr.Encode(text, qr.L)
	if err != nil || code.Size+2*quiet > columns {
		return ""
	}
	light := func(x, y int) bool { return !code.Black(x, y) } // false outside, so the margin is light
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		if colour {
			b.WriteString("\x1b[38;5;231;48;5;16m")
		}
		for x := -quiet; x < code.Size+quiet; x++ {
			switch top, bottom := light(x, y), light(x, y+1); {
			case top && bottom:
				b.WriteString("█")
			case top:
				b.WriteString("▀")
			case bottom:
				b.WriteString("▄")
			default:
				b.WriteString(" ")
			}
		}
		if colour {
			b.WriteString("\x1b[0m")
		}
		b.WriteString("\n")
	}
	return b.String() + "\n"
}
