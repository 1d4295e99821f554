// Package issuer turns a grant of access, by whichever link of the chain, into
// credentials that end with it. AWS asks STS AssumeRole; Dev makes keys that open
// nothing, for development. Both implement breakglass.Issuer.
//
// Numbers and formats come from the AWS STS API reference (AssumeRole, Tag) and
// the IAM User Guide ("Role chaining", "Condition operators", "Session tags").
package issuer
