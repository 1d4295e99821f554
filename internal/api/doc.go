// Package api serves the HTTP API that openapi.yaml describes. It reads and
// checks requests, asks the service, and turns answers and errors into HTTP;
// every decision is the service's.
package api
