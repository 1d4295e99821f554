// Package bench measures the service: each figure against a yardstick that is
// measured in the same run, minutes or milliseconds apart, because figures of
// two runs on a shared machine can't be compared. There is no other code here.
//
// TestBench runs with BREAKGLASS_BENCH=1 alone, and `make bench` runs it:
//
//	scripts/bench.sh            # everything
//	scripts/bench.sh poll cli   # these parts
package bench
