// Command bgctl asks breakglassd for emergency access to AWS and uses it.
package main

import (
	"os"
	"time"

	"breakglass/internal/cli"
)

func main() {
	os.Exit(cli.Main(cli.Program{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now,
	}))
}
