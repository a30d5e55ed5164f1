// Worker is the set-up process that tests start: `wherry setup` without the
// rest of wherry.
package main

import (
	"context"
	"os"

	"github.com/wherry-ml/wherry/environment"
)

func main() {
	if err := environment.Work(context.Background()); err != nil {
		os.Exit(1)
	}
}
