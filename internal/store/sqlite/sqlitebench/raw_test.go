package sqlitebench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkRawGroupCommit64 is the yardstick for BenchmarkUpdate64 of the store.
func BenchmarkRawGroupCommit64(b *testing.B) {
	rate, err := RawGroupCommit(b.Context(), b.TempDir(), 64, b.N)
	require.NoError(b, err)
	b.ReportMetric(rate, "tx/s")
}
