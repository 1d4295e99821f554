package show

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"rsc.io/qr"
)

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*m")

// dark reads a drawing back into modules.
func dark(t *testing.T, drawing string) (rows [][]bool) {
	t.Helper()
	for line := range strings.Lines(strings.TrimRight(drawing, "\n")) {
		var top, bottom []bool
		for _, c := range strings.TrimRight(line, "\n") {
			half, ok := map[rune][2]bool{'█': {false, false}, '▀': {false, true}, '▄': {true, false}, ' ': {true, true}}[c]
			require.True(t, ok, "%q", c)
			top, bottom = append(top, half[0]), append(bottom, half[1])
		}
		rows = append(rows, top, bottom)
	}
	return rows
}

func TestAQRCodeIsDrawnModuleByModuleWithItsMargin(t *testing.T) {
	const text = "otpauth://totp/breakglass:alice@example.com?secret=ABCDEFGHIJKLMNOPQRSTUVWXYZ234567&issuer=breakglass"
	code, err := qr.Encode(text, qr.L)
	require.NoError(t, err)
	for _, colour := range []bool{false, true} {
		rows := dark(t, escapes.ReplaceAllString(QR(text, colour, 80), ""))
		require.GreaterOrEqual(t, len(rows), code.Size+2*quiet)
		for y, row := range rows {
			require.Len(t, row, code.Size+2*quiet)
			for x, is := range row {
				require.Equal(t, code.Black(x-quiet, y-quiet), is, "module %d, %d", x-quiet, y-quiet)
			}
		}
	}
	assert.Empty(t, QR(text, true, 40), "there is no room")
	assert.Empty(t, QR(strings.Repeat("x", 5000), true, 1000), "too long for any")
}
