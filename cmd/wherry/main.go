// Command wherry runs Databricks-style ML projects on machines their team owns.
package main

import (
	"os"

	"github.com/wherry-ml/wherry/cli"
	"github.com/wherry-ml/wherry/sandbox"
)

func main() {
	sandbox.Main() // does not return in a sandbox's first process
	os.Exit(cli.Main(os.Args))
}
