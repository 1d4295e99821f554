package audit

import (
	"testing"
)

func BenchmarkSeal(b *testing.B) {
	e := fullEntry()
	b.ReportAllocs()
	for b.Loop() {
		Seal(&e, GenesisHash)
	}
}
