package breakglass

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// CanonicalName returns the one spelling of a person's name: compatibility
// characters and letter case are folded (NFKC and full case folding, Unicode
// Standard, section 3.13), so that Alice, alice and ＡＬＩＣＥ are one person to
// policy, limits and ownership. A name that could pass for another one, or
// hides something, is refused: problem says what is wrong with it.
//
// Every name of a person passes through here where it enters: from a way in,
// from the configuration, from a policy file, from a request.
func CanonicalName(s string) (name, problem string) {
	if problem := CheckName(s); problem != "" {
		return "", problem // before folding: it may take away what shouldn't be there
	}
	name = fold(s)
	if problem := CheckName(name); problem != "" {
		return "", problem
	}
	if problem := checkSpelling(name); problem != "" {
		return "", problem
	}
	return name, ""
}

// LoginName is CanonicalName for the name that a way in gives. Two accounts of
// one identity provider must not become one person here, so the folding beyond
// letter case is refused where people are told apart by it: straße.de and
// strasse.de are two domains, and a provider that has full-width letters or
// ligatures in its names has others without them.
func LoginName(s string) (name, problem string) {
	name, problem = CanonicalName(s)
	if problem == "" && name != simplyFolded.Replace(strings.ToLower(norm.NFC.String(s))) {
		return "", fmt.Sprintf("is another spelling of %q, which may be somebody else's: only upper and lower case may differ", name)
	}
	return name, problem
}

// simplyFolded are letters that nobody is told apart by: the sigma at the end
// of a word, and the Thai and Lao am, which are one character on every keyboard
// and two in NFKC.
var simplyFolded = strings.NewReplacer("ς", "σ", "\u0e33", "\u0e4d\u0e32", "\u0eb3", "\u0ecd\u0eb2")

// CheckPersonName returns what is wrong with the name of a person, or "".
func CheckPersonName(s string) string {
	_, problem := CanonicalName(s)
	return problem
}

// Canonical is CanonicalName for a name that may be empty or in bad form; it
// returns such a name as it is.
func Canonical(s string) string {
	if name, problem := CanonicalName(s); problem == "" {
		return name
	}
	return s
}

// fold folds compatibility characters and case. One round doesn't always reach
// the end: folding can make a sequence that normalises further.
func fold(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	for range 4 {
		next := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(s)))
		if next == s {
			return s
		}
		s = next
	}
	return s
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}

// CanonicalGroup returns the form in which groups are compared, NFC: upper and
// lower case differ, as they do in identity providers.
func CanonicalGroup(s string) (group, problem string) {
	group = norm.NFC.String(s)
	return group, CheckName(group)
}

// checkSpelling refuses names that look like others. It is the idea of UTS #39
// ("highly restrictive") in rules that can be said in a few sentences, see
// docs/security.md: ASCII, and letters with their marks, of one script, or of
// Latin together with the scripts of Chinese, Japanese or Korean.
func checkSpelling(name string) string {
	if isASCII(name) {
		return checkSpaces(name)
	}
	used := scripts{}
	var before rune
	for _, r := range name {
		if r >= utf8.RuneSelf || unicode.IsLetter(r) {
			if problem := used.add(before, r); problem != "" {
				return problem
			}
		}
		before = r
	}
	if problem := checkSpaces(name); problem != "" {
		return problem
	}
	if problem := used.problem(name); problem != "" {
		return problem
	}
	return used.strokes([]rune(name))
}

// strokes refuses what is read as I, O or a hyphen among Latin letters: single
// letters of Hangul, and the strokes of Han and kana that have no letter of
// their own kind beside them, which they have in 一郎 and ロー.
func (s scripts) strokes(name []rune) string {
	if !s["Latin"] {
		return ""
	}
	ordinary := func(i int) bool {
		return i >= 0 && i < len(name) && !strings.ContainsRune(bareStrokes, name[i]) && !strings.ContainsRune(singleHangul, name[i]) &&
			unicode.In(name[i], unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo, unicode.Hangul)
	}
	for i, r := range name {
		if strings.ContainsRune(singleHangul, r) || strings.ContainsRune(bareStrokes, r) && !ordinary(i-1) && !ordinary(i+1) {
			return fmt.Sprintf("must not contain characters that look like others (found %U)", r)
		}
	}
	return ""
}

const (
	singleHangul = "\u1175\u110b\u1173" // i, ieung, eu: I, O and a hyphen
	bareStrokes  = "\u4e28\u4e00\u30fc" // 丨, 一 and the prolonged sound mark
)

// checkSpaces refuses what differs from another name in its blanks alone.
func checkSpaces(name string) string {
	if strings.Contains(name, "  ") {
		return "must not contain two spaces in a row"
	}
	return ""
}

// scripts are those that the letters of a name belong to.
type scripts map[string]bool

// add takes a letter or anything beyond ASCII into account; before is the
// character before it.
func (s scripts) add(before, r rune) string {
	switch {
	case unicode.Is(lookalikes, r):
		return fmt.Sprintf("must not contain characters that look like others (found %U)", r)
	case unicode.IsMark(r):
		if unicode.Is(hidingMarks, r) || !unicode.IsLetter(before) && !unicode.IsMark(before) || r == 0x307 && (before == 'i' || before == 'j') {
			return fmt.Sprintf("must not contain marks that can't be seen where they are (found %U)", r)
		}
		if unicode.Is(unicode.Inherited, r) {
			return ""
		}
	case r == 0x30FC: // the prolonged sound mark of kana, which Unicode counts to no script
		s["Kana"] = true
		return ""
	case !unicode.IsLetter(r):
		return fmt.Sprintf("must consist of letters, and of digits, punctuation and spaces of ASCII (found %U)", r)
	}
	name := scriptOf(r)
	if name == "" {
		return fmt.Sprintf("must consist of letters of a script in everyday use (found %U)", r)
	}
	s[name] = true
	return ""
}

func scriptOf(r rune) string {
	if r < utf8.RuneSelf {
		return "Latin"
	}
	for _, name := range recommended {
		if unicode.Is(unicode.Scripts[name], r) {
			if name == "Hiragana" || name == "Katakana" {
				return "Kana" // always written together
			}
			return name
		}
	}
	return ""
}

// recommended are the scripts in everyday use (UAX #31, table 5). Some of the
// others, such as Cherokee and Lisu, consist of letters that look Latin.
var recommended = []string{"Latin", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Bopomofo",
	"Arabic", "Armenian", "Bengali", "Devanagari", "Ethiopic", "Georgian", "Gujarati", "Gurmukhi", "Hebrew", "Kannada",
	"Khmer", "Lao", "Malayalam", "Myanmar", "Oriya", "Sinhala", "Tamil", "Telugu", "Thaana", "Thai", "Tibetan"}

// mixtures are the scripts that are written together and not taken for one
// another (UTS #39, section 5.2, highly restrictive).
var mixtures = []scripts{
	{"Latin": true, "Han": true, "Kana": true},
	{"Latin": true, "Han": true, "Bopomofo": true},
	{"Latin": true, "Han": true, "Hangul": true},
}

func (s scripts) problem(name string) string {
	if len(s) > 1 && !s.within(mixtures) {
		return "must not mix letters of several scripts: they can look like another name"
	}
	if (s["Cyrillic"] || s["Greek"]) && strings.IndexFunc(name, func(r rune) bool {
		return r >= utf8.RuneSelf && !strings.ContainsRune(likeLatin, r)
	}) < 0 {
		return "looks like a name in Latin letters but has none"
	}
	return ""
}

func (s scripts) within(allowed []scripts) bool {
	for _, mixture := range allowed {
		ok := true
		for name := range s {
			ok = ok && mixture[name]
		}
		if ok {
			return true
		}
	}
	return false
}

// likeLatin are the lower-case Cyrillic and Greek letters that look like Latin
// ones: a name of nothing else is a Latin name to whoever reads it.
const likeLatin = "авекмнорстухѕіїјһԁԛԝӏүѵгпь" + "αβγικνορτυχωϲϳ"

// lookalikes are letters that are taken for ASCII: dotless i, the letters of
// phonetic notation, clicks, and full-width forms that NFKC leaves alone.
var lookalikes = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0131, Hi: 0x0131, Stride: 1}, // dotless i
		{Lo: 0x0138, Hi: 0x0138, Stride: 1}, // kra
		{Lo: 0x01C0, Hi: 0x01C3, Stride: 1}, // clicks
		{Lo: 0x0237, Hi: 0x0237, Stride: 1}, // dotless j
		{Lo: 0x0250, Hi: 0x02FF, Stride: 1}, // IPA extensions, modifier letters
		{Lo: 0x1D00, Hi: 0x1DBF, Stride: 1}, // phonetic extensions
		{Lo: 0x2C60, Hi: 0x2C7F, Stride: 1}, // Latin extended-C
		{Lo: 0xA720, Hi: 0xA7FF, Stride: 1}, // Latin extended-D
		{Lo: 0xAB30, Hi: 0xAB6F, Stride: 1}, // Latin extended-E
	},
	R32: []unicode.Range32{
		{Lo: 0x10780, Hi: 0x107BF, Stride: 1}, // Latin extended-F
		{Lo: 0x1DF00, Hi: 0x1DFFF, Stride: 1}, // Latin extended-G
	},
}

// hidingMarks show nothing, or strike through the letter below them.
var hidingMarks = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x0334, Hi: 0x0338, Stride: 1}, // overlays: o and a slash look like ø
		{Lo: 0x034F, Hi: 0x034F, Stride: 1}, // grapheme joiner
		{Lo: 0x17B4, Hi: 0x17B5, Stride: 1}, // Khmer inherent vowels
		{Lo: 0x180B, Hi: 0x180F, Stride: 1}, // Mongolian variation selectors
		{Lo: 0x20D0, Hi: 0x20FF, Stride: 1}, // marks for symbols
		{Lo: 0xFE00, Hi: 0xFE0F, Stride: 1}, // variation selectors
	},
	R32: []unicode.Range32{{Lo: 0xE0100, Hi: 0xE01EF, Stride: 1}},
}
