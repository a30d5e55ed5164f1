package cli

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A word that is no command of a group is wrong use, whatever the group.
func TestUnknownCommand(t *testing.T) {
	groups := 0
	var try func(c *cobra.Command, path []string)
	try = func(c *cobra.Command, path []string) {
		if c.HasSubCommands() && !strings.Contains(c.Use, " ") {
			groups++
			root := rootCommand()
			root.SetOut(io.Discard)
			root.SetArgs(append(append([]string{}, path...), "nosuch"))
			err := root.Execute()
			exit, ok := errors.AsType[*ExitError](err)
			if !ok || exit.Code != 2 || !strings.Contains(exit.Message, `"nosuch" is no command of`) || !strings.Contains(exit.Message, c.CommandPath()) {
				t.Errorf("%s nosuch: %v", c.CommandPath(), err)
			}
			root = rootCommand()
			root.SetOut(io.Discard)
			root.SetArgs(append(append([]string{}, path...), "--help"))
			if err := root.Execute(); err != nil {
				t.Errorf("%s --help: %v", c.CommandPath(), err)
			}
		}
		for _, sub := range c.Commands() {
			try(sub, append(append([]string{}, path...), sub.Name()))
		}
	}
	try(rootCommand(), nil)
	if groups < 10 {
		t.Errorf("only %d groups were tried", groups)
	}
	for _, tt := range []struct{ line, want string }{
		{"ci run --jbo test", "unknown flag: --jbo, did you mean --job? (`wherry ci run --help` lists them)"},
		{"ci run --nothing-like-it", "unknown flag: --nothing-like-it (`wherry ci run --help` lists them)"},
		{"env set prod --wait abc", `--wait can not be "abc": it is a whole number`},
		{"env set prod --gate=maybe", `--gate can not be "maybe": it is true or false`},
	} {
		root := rootCommand()
		root.SetArgs(strings.Fields(tt.line))
		err := root.Execute()
		if exit, ok := errors.AsType[*ExitError](err); !ok || exit.Code != 2 || exit.Message != tt.want {
			t.Errorf("%s: %v, want %s", tt.line, err, tt.want)
		}
	}
	root := rootCommand()
	root.SetArgs([]string{"repo", "lst"})
	if err := root.Execute(); err == nil || !strings.Contains(err.Error(), "did you mean list?") {
		t.Errorf("a word that is near: %v", err)
	}
}
