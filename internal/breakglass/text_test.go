package breakglass

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCharactersThatShowNothingAreRefused(t *testing.T) {
	for _, span := range [][2]rune{
		{0x00AD, 0x00AD}, {0x034F, 0x034F}, {0x115F, 0x1160}, {0x17B4, 0x17B5}, {0x180B, 0x180F}, {0x200B, 0x200B}, {0x2060, 0x2064},
		{0x206A, 0x206F}, {0x2800, 0x2800}, {0x3164, 0x3164}, {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0}, {0x1D173, 0x1D17A}, {0xE0000, 0xE007F},
		{0xE0100, 0xE01EF},
	} {
		for r := span[0]; r <= span[1]; r++ {
			assert.Contains(t, CheckName("a"+string(r)+"b"), "invisible", "%U", r)
		}
	}
	for _, s := range []string{"❤\ufe0f", "👩\u200d🚒", "می\u200cخواهم", "e\u0301", "ភាសាខ្មែរ", "ᠮᠣᠩᠭᠣᠯ"} {
		assert.Empty(t, CheckName(s), "%q", s)
	}
}
