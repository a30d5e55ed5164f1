package databricks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// apiCommand calls any path of the API.
func apiCommand(connect Connector) *cobra.Command {
	c := &cobra.Command{Use: "api", Short: "Call the REST API by method and path"}
	for _, method := range []string{"get", "post", "put", "patch", "delete", "head"} {
		document := ""
		one := &cobra.Command{
			Use: method + " PATH", Short: "Send a " + strings.ToUpper(method) + " request", Args: cobra.ExactArgs(1),
			RunE: func(c *cobra.Command, args []string) error {
				if !strings.HasPrefix(args[0], "/") {
					return fmt.Errorf("the path %q does not begin with a slash", args[0])
				}
				var body io.Reader
				if document != "" {
					raw, err := documentBytes(c, document)
					if err != nil {
						return err
					}
					if !json.Valid(raw) {
						return fmt.Errorf("--json is no JSON")
					}
					body = bytes.NewReader(raw)
				}
				cl, err := connect(c)
				if err != nil {
					return err
				}
				resp, err := cl.Send(c.Context(), strings.ToUpper(method), args[0], body, -1)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				answer, err := io.ReadAll(resp.Body)
				if err != nil {
					return err
				}
				if json.Valid(answer) {
					return printJSON(c.OutOrStdout(), json.RawMessage(answer))
				}
				_, err = c.OutOrStdout().Write(answer)
				return err
			},
		}
		one.Flags().StringVar(&document, "json", "", "the request, or @ and the name of its file")
		c.AddCommand(one)
	}
	return c
}
