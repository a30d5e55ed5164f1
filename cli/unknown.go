package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// refuseUnknown makes a word that is no command of a group an error, in the
// whole tree: cobra shows the help of a group and calls it success.
func refuseUnknown(c *cobra.Command) {
	for _, sub := range c.Commands() {
		refuseUnknown(sub)
	}
	switch {
	case !c.HasSubCommands():
	case !c.Runnable():
		c.Args, c.RunE, c.DisableFlagsInUseLine = unknownWord, func(c *cobra.Command, _ []string) error { return c.Help() }, true
	case !strings.Contains(c.Use, " "): // takes no arguments of its own
		c.Args = unknownWord
	}
}

func unknownWord(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	return &ExitError{Code: 2, Message: fmt.Sprintf("%q is no command of %q%s (`%s --help` lists them)", args[0], c.CommandPath(), meant(c.SuggestionsFor(args[0])), c.CommandPath())}
}
