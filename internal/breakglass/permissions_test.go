package breakglass_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"breakglass/internal/breakglass"
)

// The table in docs/security.md is the one of the code. After a change of the
// table, put what this test prints into the document.
func TestTheDocumentedTableIsTheOneThatIsEnforced(t *testing.T) {
	data, err := os.ReadFile("../../docs/security.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(data), "<!-- permissions -->\n")
	require.True(t, ok)
	table, _, ok := strings.Cut(rest, "<!-- end of permissions -->")
	require.True(t, ok)
	assert.Equal(t, breakglass.PermissionTable(), table)
}

func TestWhatTheTableDoesNotNameIsRefused(t *testing.T) {
	everything := breakglass.Principal{Name: "root", Roles: breakglass.Roles()}
	assert.Equal(t, breakglass.Hide, breakglass.Permit(everything, "drop", breakglass.TargetServer))
	assert.Equal(t, breakglass.Hide, breakglass.Permit(everything, breakglass.CallFeed, "elsewhere"))
	assert.NotNil(t, breakglass.May(everything, "drop", breakglass.TargetServer))
	assert.NotNil(t, breakglass.MayAtAll(everything, "drop"))
	assert.Equal(t, breakglass.Forbid, breakglass.Permit(breakglass.Principal{Roles: []breakglass.Role{"superuser"}}, breakglass.CallFeed, breakglass.TargetServer))
}

func TestTheTableHoldsItsOwnPromises(t *testing.T) {
	everything := breakglass.Principal{Roles: breakglass.Roles()}
	for _, p := range breakglass.Permissions() {
		for role, answer := range p.Roles {
			assert.Greater(t, answer, p.Anybody, "%s %s: %s takes nothing away", p.Call, p.Target, role)
		}
		for _, roles := range append([][]breakglass.Role{nil}, oneByOne()...) {
			who := breakglass.Principal{Roles: roles}
			if breakglass.Permit(who, p.Call, p.Target) == breakglass.Forbid {
				assert.NotEmpty(t, p.Refusal, "%s %s says why", p.Call, p.Target)
			}
			// Who may not know of something gets no other sign of it either.
			if look := lookOf(p.Call); look != "" {
				knows := breakglass.Permit(who, look, p.Target) == breakglass.Allow
				assert.Equal(t, knows, breakglass.Permit(who, p.Call, p.Target) != breakglass.Hide, "%s %s %v", p.Call, p.Target, roles)
			}
		}
	}
	for _, target := range []breakglass.Target{breakglass.TargetRequested, breakglass.TargetForeign} {
		assert.NotEqual(t, breakglass.Allow, breakglass.Permit(everything, breakglass.CallCredentials, target), "another's credentials, with every role at once")
		assert.NotEqual(t, breakglass.Allow, breakglass.Permit(everything, breakglass.CallExtend, target), "another's event, with every role at once")
	}
	assert.NotEqual(t, breakglass.Allow, breakglass.Permit(everything, breakglass.CallApprove, breakglass.TargetOwn), "one's own request, with every role at once")
	assert.NotEqual(t, breakglass.Allow, breakglass.Permit(everything, breakglass.CallApprove, breakglass.TargetForeign), "no role makes an approver")
}

// lookOf is the call by which one looks at what another call changes.
func lookOf(call breakglass.Call) breakglass.Call {
	switch call {
	case breakglass.CallClose, breakglass.CallCredentials, breakglass.CallExtend:
		return breakglass.CallCheck
	case breakglass.CallApprove, breakglass.CallDeny, breakglass.CallCancel:
		return breakglass.CallRequestShow
	}
	return ""
}

func oneByOne() [][]breakglass.Role {
	var out [][]breakglass.Role
	for _, r := range breakglass.Roles() {
		out = append(out, []breakglass.Role{r})
	}
	return out
}
