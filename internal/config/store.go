package config

import (
	"net/url"
	"regexp"
)

// The stores.
const (
	DriverSQLite   = "sqlite"
	DriverDynamoDB = "dynamodb"
)

// Store says where events and the audit trail are kept.
type Store struct {
	Driver   string   `yaml:"driver"` // sqlite | dynamodb
	SQLite   SQLite   `yaml:"sqlite"`
	DynamoDB DynamoDB `yaml:"dynamodb"`
}

// SQLite configures the embedded store.
type SQLite struct {
	Path string `yaml:"path"`
}

// DynamoDB configures the store that several servers share.
type DynamoDB struct {
	Table    string `yaml:"table"`
	Region   string `yaml:"region"`
	Endpoint string `yaml:"endpoint"`
	// AllowHTTP permits an endpoint without TLS off loopback.
	AllowHTTP bool `yaml:"allow_http"`
}

// tableName is the form of a table's name (DynamoDB API reference, CreateTable).
var tableName = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

func (c Config) validateStore(v *validator) {
	s := c.Store
	switch s.Driver {
	case DriverSQLite:
		v.require(s.SQLite.Path != "", "store.sqlite.path", "is required")
		v.require(s.DynamoDB == DynamoDB{}, "store.dynamodb", "has no use with driver sqlite")
	case DriverDynamoDB:
		v.require(tableName.MatchString(s.DynamoDB.Table), "store.dynamodb.table", "%q must be the name of a table: 3 to 255 of A–Z a–z 0–9 _ . -", s.DynamoDB.Table)
		v.require(region.MatchString(s.DynamoDB.Region), "store.dynamodb.region", "%q must be an AWS Region, such as us-east-1", s.DynamoDB.Region)
		v.require(!v.file.Has("store.sqlite"), "store.sqlite", "has no use with driver dynamodb")
		v.endpoint("store.dynamodb.endpoint", s.DynamoDB.Endpoint, s.DynamoDB.AllowHTTP, "justifications and the audit trail would cross the network in the clear")
	default:
		v.add("store.driver", "%q is unknown: use sqlite or dynamodb", s.Driver)
	}
}

// endpoint checks the URL of an AWS service; without TLS it must be on this
// machine or allowed in so many words.
func (v *validator) endpoint(path, endpoint string, allowHTTP bool, why string) {
	if endpoint == "" {
		return
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		v.add(path, "must be a URL, such as https://host.example.com")
		return
	}
	v.require((u.Path == "" || u.Path == "/") && u.RawQuery == "" && !u.ForceQuery && u.Fragment == "" && u.User == nil, path,
		"must have no path, query or user: it is the host that is asked instead of AWS's")
	v.require(u.Scheme == "https" || allowHTTP || Loopback(u.Host+":0") || Loopback(u.Host), path,
		"has no TLS: %s. Use https, or say allow_http: true in so many words", why)
}
