package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"

	"breakglass/internal/client"
)

const maxFileBytes = 64 << 10

// file is the configuration file.
type file struct {
	Server                string
	CAFile                string
	ClientCert, ClientKey string
	AllowHTTP             bool
	Output                string
}

// FileError holds every problem of the configuration file, each with its line.
type FileError struct{ Problems []string }

func (e *FileError) Error() string { return strings.Join(e.Problems, "\n") }

func readConfig(path string, mustExist bool) (file, error) {
	data, err := readCapped(path)
	if errors.Is(err, fs.ErrNotExist) && !mustExist {
		return file{}, nil
	}
	if err != nil {
		return file{}, fmt.Errorf("read the configuration file: %w", err)
	}
	return parseConfig(path, data)
}

func readCapped(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxFileBytes)
	}
	return data, err
}

// parseConfig is strict: a field that is misspelt would otherwise be a setting
// that silently doesn't hold.
func parseConfig(path string, data []byte) (file, error) {
	p := parser{path: path}
	root, err := p.document(data)
	if err != nil || root == nil {
		return file{}, err
	}
	if root.Kind != yaml.MappingNode {
		p.add(root, "must hold settings such as \"server: https://…\"")
		return file{}, &p.FileError
	}
	p.fields(root)
	if len(p.Problems) > 0 {
		return file{}, &p.FileError
	}
	return p.file, nil
}

type parser struct {
	FileError
	path string
	file file
}

func (p *parser) add(at *yaml.Node, format string, args ...any) {
	p.Problems = append(p.Problems, fmt.Sprintf("%s:%d: ", p.path, at.Line)+fmt.Sprintf(format, args...))
}

// document returns the one document of the file; nil when it is empty.
func (p *parser) document(data []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, &FileError{[]string{p.path + ":" + strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "line ")}}
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, &FileError{[]string{p.path + ": must hold one document only"}}
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	return root, nil
}

func (p *parser) fields(root *yaml.Node) {
	seen := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if line := seen[key.Value]; line > 0 {
			p.add(key, "%q is set a second time (first in line %d)", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		p.field(key, value)
	}
	// Checked at the end, because allow_http may come after server.
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "server" && p.file.Server != "" {
			if _, err := client.ParseServer(p.file.Server, true); err != nil {
				p.add(root.Content[i+1], "server: %v", err)
			}
		}
	}
}

func (p *parser) field(key, value *yaml.Node) {
	switch key.Value {
	case "server":
		p.text(key, value, &p.file.Server)
	case "ca_file":
		p.text(key, value, &p.file.CAFile)
	case "client_cert":
		p.text(key, value, &p.file.ClientCert)
	case "client_key":
		p.text(key, value, &p.file.ClientKey)
	case "output":
		if p.text(key, value, &p.file.Output); p.file.Output != "" && p.file.Output != Table && p.file.Output != JSON {
			p.add(value, "output must be table or json, not %q", p.file.Output)
		}
	case "allow_http":
		if value.Tag != "!!bool" || value.Decode(&p.file.AllowHTTP) != nil {
			p.add(value, "allow_http must be true or false")
		}
	case "token":
		p.add(key, "tokens don't belong into this file; `bgctl login` stores them safely")
	default:
		p.add(key, "%q is not a setting; there are server, ca_file, client_cert, client_key, allow_http and output", key.Value)
	}
}

func (p *parser) text(key, value *yaml.Node, to *string) {
	if value.Kind != yaml.ScalarNode || value.Tag != "!!str" {
		p.add(value, "%s must be text", key.Value)
		return
	}
	*to = value.Value
}
