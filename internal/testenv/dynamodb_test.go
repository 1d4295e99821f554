package testenv

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheDynamoDBEmulatorAnswersAndEndsWithItsTest(t *testing.T) {
	var e emulator
	t.Run("inside", func(t *testing.T) {
		e.endpoint = DynamoDB(t)
		require.True(t, e.answers())
	})
	require.False(t, e.answers())
	require.NotEqual(t, DynamoDB(t), DynamoDB(t), "each has a process of its own")
	require.Equal(t, SharedDynamoDB(t), SharedDynamoDB(t))
}

// TestAKilledTestLeavesNoEmulatorBehind runs this test binary as another
// process, which starts an emulator and is then killed.
func TestAKilledTestLeavesNoEmulatorBehind(t *testing.T) {
	if os.Getenv("TESTENV_HOLD_EMULATOR") != "" {
		_, _ = os.Stdout.WriteString(DynamoDB(t) + "\n") // a broken pipe shows on the other side
		select {}
	}
	path, problem := dynoxide()
	Require(t, problem == "", problem)
	require.NotEmpty(t, path)
	cmd := exec.Command(os.Args[0], "-test.run=^TestAKilledTestLeavesNoEmulatorBehind$")
	cmd.Env = append(os.Environ(), "TESTENV_HOLD_EMULATOR=1")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	buf := make([]byte, 100)
	n, err := out.Read(buf)
	require.NoError(t, err)
	e := emulator{endpoint: strings.TrimSpace(string(buf[:n]))}
	require.True(t, e.answers())
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // killed
	require.Eventually(t, func() bool { return !e.answers() }, 10*time.Second, 10*time.Millisecond)
}
