package audit

import (
	"encoding/json"
	"testing"

	"github.com/gowebpki/jcs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// canonicalised returns the canonical form of a document, or why it is refused.
func canonicalised(in []byte) ([]byte, error) {
	p := parser{data: in}
	ms, err := p.document()
	if err != nil {
		return nil, err
	}
	return p.appendObject(nil, ms, ""), nil
}

func TestStrictReaderRefuses(t *testing.T) {
	for _, in := range []string{
		`{"a":1,"a":1}`, `{"a":{"b":1,"b":2}}`, `{"a":1,"\u0061":1}`, `{"a":01}`, `{"a":-0}`, `{"a":-}`, `{"a":1.5}`, `{"a":1e3}`, `{"a":+1}`,
		`{"a":9007199254740992}`, `{"a":-9007199254740992}`, `{"a":99999999999999999999}`, `{"a":NaN}`, `{"a":'b'}`, `{a:1}`, `{"a":1,}`, `{,}`,
		`{"a":[1,]}`, `{"a":[,1]}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1};`, `{"a":1}{}`, `[]`, `1`, `"a"`, `null`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}",
		"{\"a\":\"\xff\"}", "{\"a\":\"\xc0\xaf\"}", "{\"a\":\"\xed\xa0\x80\"}", "{\"\xff\":1}", `{"a":"\ud800"}`, `{"a":"\udc00"}`, `{"a":"\ud800\ud800"}`,
		`{"a":"\ud800x\udc00"}`, `{"a":"\x41"}`, `{"a":"\u00g0"}`, `{"a":"\U0041"}`, "{\"a\":\u00a01}", "\ufeff{}", `{"a":truE}`, `{"a":nul}`, "{\v}",
	} {
		_, err := canonicalised([]byte(in))
		require.Error(t, err, in)
		assert.False(t, isCut(err), "%s doesn't merely end too early: %v", in, err)
	}
}

func TestStrictReaderTellsWhatMerelyEndsTooEarly(t *testing.T) {
	whole := `{ "a\n" : [ -12 , true , { "\ud83d\udd25é" : null } , "\u00e9" ] }`
	for n := range len(whole) {
		_, err := canonicalised([]byte(whole[:n]))
		require.True(t, isCut(err), "%q: %v", whole[:n], err)
	}
	got, err := canonicalised([]byte(whole))
	require.NoError(t, err)
	assert.Equal(t, `{"a\n":[-12,true,{"🔥é":null},"é"]}`, string(got))
}

func FuzzStrictReaderMatchesJCS(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[true,false,null,"\u001b\/\"\\\b\f\n\r\t"],"\ud83d\udd25":{},"\ue000":[[]]}`, `{"":{"b":{"c":0},"a":-1}}`,
		`{"é":"\u0000\u007f\u2028","z":9007199254740991}`, jsonLines(newTrail(1))[0]} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := canonicalised(in)
		if err != nil {
			return
		}
		require.True(t, json.Valid(in), "%q was taken", in)
		want, err := jcs.Transform(in)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
		again, err := canonicalised(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}
