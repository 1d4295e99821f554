package app

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/store/dynamodb"
)

func TestReadinessNamesTheTroubleThatNoWaitingMends(t *testing.T) {
	c := storeCheck(fmt.Errorf("table secret-name: %w", dynamodb.ErrBehind))
	require.False(t, c.OK)
	require.Contains(t, c.Detail, "the head of the trail is behind its entries")
	require.NotContains(t, c.Detail, "secret-name")
	c = storeCheck(errors.New("anything else, 10.0.0.1"))
	require.False(t, c.OK)
	require.NotContains(t, c.Detail, "10.0.0.1")
	require.True(t, storeCheck(nil).OK)
}
