package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"breakglass/internal/access"
	"breakglass/internal/approval"
)

// testAccess gives the engineers one profile for good.
const testAccess = `
version: "1"
rules:
  - {name: standing, effect: allow, profiles: [standing], groups: [engineers]}
`

const noAccess = `
version: "1"
rules:
  - {name: nothing, effect: deny, users: ["*"]}
`

// testApprovals lets engineers ask for some profiles. Security approves for most of
// them; for "shared" engineers approve each other's requests, for "twice" two of
// them, and "auto" needs nobody.
const testApprovals = `
version: "1"
rules:
  - {name: changes, profiles: [prod, standing], requesters: {groups: [engineers]}, approvers: {groups: [security]}, max_duration: 4h}
  - {name: ticketed, profiles: [ticketed], requesters: {groups: [engineers]}, approvers: {groups: [security]}, require_ticket: true}
  - {name: shared, profiles: [shared], requesters: {groups: [engineers]}, approvers: {groups: [engineers]}}
  - {name: twice, profiles: [twice], requesters: {groups: [engineers]}, approvers: {groups: [engineers]}, approvals: 2}
  - name: auto
    profiles: [auto]
    requesters: {groups: [engineers]}
    approvers: {groups: [security]}
    auto_approve:
      - {groups: [engineers]}
`

// standing puts access rules in force.
func (s *server) standing(t testing.TB, text string) {
	t.Helper()
	p, err := access.Parse("access.yaml", []byte(text))
	require.NoError(t, err)
	s.access.Store(p)
}

// approving puts approval rules in force.
func (s *server) approving(t testing.TB, text string) {
	t.Helper()
	p, err := approval.Parse("approvals.yaml", []byte(text))
	require.NoError(t, err)
	s.approvals.Store(p)
}
