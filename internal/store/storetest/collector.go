package storetest

import "github.com/stretchr/testify/assert"

// collector is what require.EventuallyWithT hands to its condition.
type collector = assert.CollectT
