// Package breakglass is the domain of emergency access: the event and its
// state machine, the audit entry, the decisions and the service that runs
// them. It imports no other package of this module; everything it needs from
// outside (a store, policies, limits, an issuer of credentials) it declares
// as a small interface in ports.go, and internal/app plugs the parts together.
package breakglass
