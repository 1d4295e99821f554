package notify

// Config is the notify section of the server's configuration.
type Config struct {
	Sinks []SinkConfig `yaml:"sinks"`
}

// The types of sinks.
const (
	TypeSNS     = "sns"
	TypeWebhook = "webhook"
	TypeLog     = "log"
	TypeMulti   = "multi"
	TypeNoop    = "noop"
)

// SinkConfig describes one sink. Which fields apply depends on Type.
type SinkConfig struct {
	Name string `yaml:"name"`
	Type string `yaml:"type"`

	// Events are the entry types that the sink wants; empty means all.
	Events []string `yaml:"events"`
	// Profiles narrows it to entries about these profiles; empty means all.
	Profiles []string `yaml:"profiles"`

	// sns
	TopicARN string `yaml:"topic_arn"`
	Region   string `yaml:"region"`   // default: the topic's
	Endpoint string `yaml:"endpoint"` // default: AWS's, whatever the environment says

	// webhook. The secret is whsec_ and base64 of 24 to 64 bytes; during a
	// rotation several of them, separated by white space, the newest first.
	URL        string `yaml:"url"`
	SecretEnv  string `yaml:"secret_env"`  // name of the environment variable that holds the secret
	SecretFile string `yaml:"secret_file"` // or the file
	AllowHTTP  bool   `yaml:"allow_http"`  // permit a url, or an SNS endpoint off loopback, without TLS
	// AllowPrivate names what may be reached beside public addresses:
	// addresses, CIDR ranges or host names; addresses and names may carry a port.
	AllowPrivate []string `yaml:"allow_private"`

	// multi. Members have a name, a type and their type's fields; events and
	// profiles belong to the multi sink itself.
	Sinks []SinkConfig `yaml:"sinks"`
}
