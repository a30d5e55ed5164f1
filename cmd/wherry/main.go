// Command wherry runs Databricks-style ML projects on machines their team owns.
package main

import (
	"os"

	"github.com/wherry-ml/wherry/cli"
)

func main() { os.Exit(cli.Main(os.Args)) }
