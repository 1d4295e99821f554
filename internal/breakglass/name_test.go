package breakglass_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"breakglass/internal/breakglass"
)

func TestEverySpellingOfANameIsOneName(t *testing.T) {
	for want, spellings := range map[string][]string{
		"alice@example.com": {"alice@example.com", "Alice@Example.COM", "ａｌｉｃｅ@example.com", "ALICE＠EXAMPLE.COM", "𝒶lice@example.com"},
		"kelvin":            {"kelvin", "\u212Aelvin"},       // the Kelvin sign
		"strasse":           {"straße", "STRASSE", "STRAẞE"}, // full case folding
		"jürgen":            {"jürgen", "ju\u0308rgen", "JÜRGEN", "JU\u0308RGEN"},
		"ǆ":                 {},
		"σίσυφοσ":           {"Σίσυφος", "ΣΊΣΥΦΟΣ"}, // both sigmas
		"иван":              {"Иван", "ИВАН"},
		"山田 taro":           {"山田 Taro", "山田\u00a0taro"}, // written together with Latin
		"タロー":               {"タロー", "ﾀﾛｰ"},
		"一郎@example.com":    {"一郎@example.com"}, // the stroke of a name that is read as one
		"ロー@example.com":    {"ロー@example.com"},
		"健一 ken":            {"健一 Ken"},
		"一":                 {"一"},
		"arn:aws:x/y_z+1":   {"arn:aws:x/Y_Z+1"},
	} {
		for _, s := range spellings {
			got, problem := breakglass.CanonicalName(s)
			require.Empty(t, problem, "%q", s)
			assert.Equal(t, want, got, "%q", s)
			assert.Equal(t, want, breakglass.Canonical(s))
		}
	}
}

func TestNamesThatPassForOthersAreRefused(t *testing.T) {
	for why, names := range map[string][]string{
		"empty":        {""},
		"white space":  {" alice", "alice ", "\u3000alice"},
		"two spaces":   {"alice  smith", "alice \u00a0smith"},
		"control":      {"ali\x00ce", "ali\nce", "ali\x1b[0mce", "ali\u200bce", "ali\u202ece", "ali\u00adce", "\ufeffalice", "ali\U000E0061ce", "ali\u3164ce", "a\u034fb"},
		"letters":      {"ali\u200dce", "ali\u200cce", "alice\u2010b", "alice’s", "alice٣", "alice\u09ea", "🔥", "a\u2044b", "½", "a\ue000b", "a\U000F0000"},
		"several":      {"аlice", "аlice@example.com", "pаypal", "alicе", "ο1a", "aב", "alice@пример.example", "иванβ", "한カ"},
		"everyday use": {"ᎪᎳᎥ", "ꓮꓡ", "𐐀𐐁"},
		"Latin":        {"соре", "АРЕ", "ΑΒΟ", "оса", "сор-01"},
		"like others": {"al\u0131ce", "\u0251lice", "ɡrace", "a\u01c3", "ⱥ", "\ua731am",
			"al\u1175ce", "al\u3163ce", "b\u110bb", "alice\u1173b", "al\u4e28ce", "alice\u4e00b", "alice\u30fcb", "\u4e00\u4e00@example.com", "한\u1175 alice"},
		"can't be seen": {"al\ufe0fice", "o\u0338le", "-\u0301a", "İstanbul", "i\u0307", "a\u20dd", "က\ufe00"},
	} {
		for _, s := range names {
			got, problem := breakglass.CanonicalName(s)
			assert.Contains(t, problem, why, "%q became %q", s, got)
			assert.Empty(t, got)
			assert.Equal(t, s, breakglass.Canonical(s))
		}
	}
	_, problem := breakglass.CanonicalName(strings.Repeat("ﷺ", 100))
	assert.Contains(t, problem, "1 to 256", "the length counts after folding")
}

// Two accounts of one identity provider must not log in as one person.
func TestALoginIsNotMergedWithAnotherNameBeyondItsCase(t *testing.T) {
	for _, name := range []string{"anna@straße.de", "ａｌｉｃｅ@example.com", "ﬁona@example.com", "aliſe@example.com", "anna@STRAẞE.de"} {
		login, problem := breakglass.LoginName(name)
		assert.Empty(t, login, name)
		assert.Contains(t, problem, "another spelling of", name)
		_, problem = breakglass.CanonicalName(name)
		assert.Empty(t, problem, "the configuration may write %s", name)
	}
	for name, want := range map[string]string{
		"Alice@Example.com": "alice@example.com", "JOSE\u0301@example.com": "josé@example.com", "Γιάννης": "γιάννησ", "ЖУКОВ": "жуков",
		"山田太郎": "山田太郎", "น้ำ": "น้\u0e4d\u0e32", "김철수": "김철수", "ОЛЕКСАНДР": "олександр",
	} {
		login, problem := breakglass.LoginName(name)
		assert.Empty(t, problem, name)
		assert.Equal(t, want, login, name)
	}
	_, problem := breakglass.LoginName("аlice@example.com")
	assert.Contains(t, problem, "several scripts")
}

func TestGroupsCompareExactlyInOneForm(t *testing.T) {
	composed, problem := breakglass.CanonicalGroup("e\u0301quipe A")
	require.Empty(t, problem)
	assert.Equal(t, "équipe A", composed)
	upper, _ := breakglass.CanonicalGroup("Oncall")
	assert.Equal(t, "Oncall", upper, "upper and lower case differ")
	_, problem = breakglass.CanonicalGroup("a\u202eb")
	assert.NotEmpty(t, problem)
}

func FuzzCanonicalName(f *testing.F) {
	for _, s := range []string{"alice@example.com", "ＡＬＩＣＥ", "straße", "İ", "аlice", "山田 Taro", "ﷺ", "\u1e9e\u0345", "ᾳ", "a\u0301\u0328", "ŉ", "🔥"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, problem := breakglass.CanonicalName(s)
		if problem != "" {
			if name != "" {
				t.Fatalf("%q is refused and becomes %q", s, name)
			}
			return
		}
		if again, problem := breakglass.CanonicalName(name); problem != "" || again != name {
			t.Fatalf("%q becomes %q, and that %q (%s)", s, name, again, problem)
		}
		if !norm.NFKC.IsNormalString(name) || breakglass.CheckName(name) != "" {
			t.Fatalf("%q becomes %q, which is in bad form", s, name)
		}
		if login, problem := breakglass.LoginName(s); problem == "" && login != name {
			t.Fatalf("%q logs in as %q and is %q", s, login, name)
		}
		if login, problem := breakglass.LoginName(name); problem != "" {
			t.Fatalf("nobody can log in as %q: %q %s", name, login, problem)
		}
		for _, variant := range []string{norm.NFD.String(s), norm.NFC.String(s), strings.ToUpper(name), strings.ToLower(name)} {
			if v, problem := breakglass.CanonicalName(variant); problem == "" && v != name {
				t.Fatalf("%q and its variant %q are two names: %q, %q", s, variant, name, v)
			}
		}
		for _, r := range name {
			if r > unicode.MaxASCII && !unicode.IsLetter(r) && !unicode.IsMark(r) {
				t.Fatalf("%q holds %U", name, r)
			}
		}
	})
}

func FuzzCanonicalGroup(f *testing.F) {
	f.Add("oncall")
	f.Add("e\u0301quipe")
	f.Fuzz(func(t *testing.T, s string) {
		group, problem := breakglass.CanonicalGroup(s)
		if again, p := breakglass.CanonicalGroup(group); again != group || (p == "") != (problem == "") {
			t.Fatalf("%q becomes %q, and that %q", s, group, again)
		}
	})
}
