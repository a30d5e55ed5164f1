package databricks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
)

// group is a command with calls below it.
type group struct {
	name, short string
	calls       []call
	more        func(Connector) []*cobra.Command // what is more than one call
}

// call is a command that is one call of the API.
type call struct {
	// use names the command and its arguments, which are fields of the request:
	// "get JOB_ID".
	use   string
	alias string
	short string
	// method and path; {full_name} in the path is a field of the request.
	method, path string
	// flags are more fields, as "name type: help".
	flags []string
	// fixed are fields that are always sent.
	fixed map[string]any
	// list is the answer's field that holds a list, which is read to its end.
	list string
	// columns are the list as text, as "TITLE=field".
	columns []string
	// merge are lists within the answer that come in pages.
	merge []string
	wait  *wait
}

// wait says how to wait for what a call began.
type wait struct {
	until string // for the help
	// begun is told of what the call answered; what is printed in the end.
	run func(ctx context.Context, c *client.Client, fields map[string]any, answer json.RawMessage, say func(string)) (any, error)
}

func (g group) command(connect Connector) *cobra.Command {
	c := &cobra.Command{Use: g.name, Short: g.short}
	for _, one := range g.calls {
		c.AddCommand(one.command(connect))
	}
	if g.more != nil {
		c.AddCommand(g.more(connect)...)
	}
	return c
}

// numbers are the fields that are numbers wherever they are.
var numbers = []string{"job_id", "run_id", "version", "version_num"}

// command is the call as a command.
func (a call) command(connect Connector) *cobra.Command {
	words := strings.Fields(a.use)
	body := a.method == http.MethodPost || a.method == http.MethodPut || a.method == http.MethodPatch
	c := &cobra.Command{Use: a.use, Short: a.short, Args: cobra.MaximumNArgs(len(words) - 1)}
	if a.alias != "" {
		c.Aliases = []string{a.alias}
	}
	read := a.addFlags(c)
	var document string
	if body {
		c.Flags().StringVar(&document, "json", "", "the request, or @ and the name of its file")
	}
	noWait, limit := false, 20*time.Minute
	if a.wait != nil {
		c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it is "+a.wait.until)
		c.Flags().DurationVar(&limit, "timeout", limit, "how long to wait")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		fields, err := readDocument(c, document)
		if err != nil {
			return err
		}
		for i, value := range args {
			name := strings.ToLower(words[i+1])
			if fields[name], err = typed(name, value); err != nil {
				return err
			}
		}
		for _, word := range words[1:] {
			if _, ok := fields[strings.ToLower(word)]; !ok {
				return fmt.Errorf("%s is missing: %s %s", word, c.CommandPath(), strings.Join(words[1:], " "))
			}
		}
		for name, value := range a.fixed {
			fields[name] = value
		}
		read(fields)
		cl, err := connect(c)
		if err != nil {
			return err
		}
		if a.wait == nil || noWait {
			return a.do(c, cl, fields)
		}
		ctx, cancel := context.WithTimeout(c.Context(), limit)
		defer cancel()
		answer, err := a.wait.do(ctx, c, cl, a, fields)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("it is not %s after %s, and goes on", a.wait.until, limit)
		}
		if errors.Is(err, context.Canceled) {
			return errors.New("not waited for any more: it goes on")
		}
		if answer != nil {
			err = errors.Join(printJSON(c.OutOrStdout(), answer), err)
		}
		return err
	}
	return c
}

func (w *wait) do(ctx context.Context, c *cobra.Command, cl *client.Client, a call, fields map[string]any) (any, error) {
	var answer json.RawMessage
	if err := a.send(ctx, cl, fields, &answer); err != nil {
		return nil, err
	}
	return w.run(ctx, cl, fields, answer, func(line string) { fmt.Fprintln(c.ErrOrStderr(), line) })
}

// addFlags adds the call's flags and returns what reads those that were given.
func (a call) addFlags(c *cobra.Command) func(fields map[string]any) {
	set := map[string]func() any{}
	for _, spec := range a.flags {
		head, help, _ := strings.Cut(spec, ": ")
		name, kind, _ := strings.Cut(head, " ")
		flag := strings.ReplaceAll(name, "_", "-")
		switch kind {
		case "bool":
			v := c.Flags().Bool(flag, false, help)
			set[name] = func() any { return *v }
		case "int":
			v := c.Flags().Int64(flag, 0, help)
			set[name] = func() any { return *v }
		default:
			v := c.Flags().String(flag, "", help)
			set[name] = func() any { return *v }
		}
	}
	return func(fields map[string]any) {
		for name, value := range set {
			if c.Flags().Changed(strings.ReplaceAll(name, "_", "-")) {
				fields[name] = value()
			}
		}
	}
}

func typed(name, value string) (any, error) {
	if !slices.Contains(numbers, name) {
		return value, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%s %q is no number", strings.ToUpper(name), value)
	}
	return n, nil
}

// readDocument reads --json: a document, or the name of its file behind an @.
func readDocument(c *cobra.Command, document string) (map[string]any, error) {
	fields := map[string]any{}
	if document == "" {
		return fields, nil
	}
	raw, err := documentBytes(c, document)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, fmt.Errorf("--json is no JSON object: %w", err)
	}
	return fields, nil
}

func documentBytes(c *cobra.Command, document string) ([]byte, error) {
	name, file := strings.CutPrefix(document, "@")
	switch {
	case !file:
		return []byte(document), nil
	case name == "-":
		return io.ReadAll(c.InOrStdin())
	}
	return os.ReadFile(name)
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

// address puts fields into the path and, for what has no body, into the query.
// What is left is the body.
func (a call) address(fields map[string]any) (path string, body map[string]any) {
	body = map[string]any{}
	for name, value := range fields {
		body[name] = value
	}
	path = inPath.ReplaceAllStringFunc(a.path, func(m string) string {
		name := strings.Trim(m, "{}")
		value := fmt.Sprint(fields[name])
		delete(body, name)
		return url.PathEscape(value)
	})
	if a.method != http.MethodGet && a.method != http.MethodDelete {
		return path, body
	}
	query := url.Values{}
	for name, value := range body {
		query.Set(name, fmt.Sprint(value))
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path, nil
}

func (a call) send(ctx context.Context, cl *client.Client, fields map[string]any, answer any) error {
	path, body := a.address(fields)
	if body == nil {
		return cl.Do(ctx, a.method, path, nil, answer)
	}
	return cl.Do(ctx, a.method, path, body, answer)
}

// do makes the call and prints its answer.
func (a call) do(c *cobra.Command, cl *client.Client, fields map[string]any) error {
	if a.list != "" {
		return a.printList(c, cl, fields)
	}
	if a.merge != nil {
		return a.printPages(c, cl, fields)
	}
	var answer json.RawMessage
	if err := a.send(c.Context(), cl, fields, &answer); err != nil {
		return err
	}
	return printAnswer(c.OutOrStdout(), answer)
}

// printAnswer shows an answer as the server ordered it; nothing for one that
// says nothing.
func printAnswer(w io.Writer, answer json.RawMessage) error {
	if text := strings.TrimSpace(string(answer)); text == "" || text == "{}" {
		return nil
	}
	return printJSON(w, answer)
}

// printList reads all pages of a list. As text it is a table, as JSON a list.
func (a call) printList(c *cobra.Command, cl *client.Client, fields map[string]any) error {
	all := []json.RawMessage{}
	for {
		var page map[string]json.RawMessage
		if err := a.send(c.Context(), cl, fields, &page); err != nil {
			return err
		}
		var items []json.RawMessage
		if raw, ok := page[a.list]; ok {
			if err := json.Unmarshal(raw, &items); err != nil {
				return fmt.Errorf("%s: %w", a.list, err)
			}
		}
		all = append(all, items...)
		if !nextPage(page, fields, len(items), len(all)) {
			break
		}
	}
	if isJSON(c) || a.columns == nil {
		return printJSON(c.OutOrStdout(), all)
	}
	return printTable(c.OutOrStdout(), a.columns, all)
}

// nextPage sets what asks for the next page: a token, or SCIM's (RFC 7644,
// 3.4.2.4) index. It tells whether there is one.
func nextPage(page map[string]json.RawMessage, fields map[string]any, items, read int) bool {
	var token string
	if raw, ok := page["next_page_token"]; ok && json.Unmarshal(raw, &token) == nil && token != "" {
		fields["page_token"] = token
		return true
	}
	var total int
	if raw, ok := page["totalResults"]; ok && json.Unmarshal(raw, &total) == nil && items > 0 && read < total {
		fields["startIndex"] = read + 1
		return true
	}
	return false
}

// printPages reads an answer whose lists come in pages and shows it as one.
func (a call) printPages(c *cobra.Command, cl *client.Client, fields map[string]any) error {
	whole, err := a.pages(c.Context(), cl, fields)
	if err != nil {
		return err
	}
	return printJSON(c.OutOrStdout(), whole)
}

func (a call) pages(ctx context.Context, cl *client.Client, fields map[string]any) (map[string]any, error) {
	var whole map[string]any
	for {
		var raw json.RawMessage
		if err := a.send(ctx, cl, fields, &raw); err != nil {
			return nil, err
		}
		var page map[string]any
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		if err := d.Decode(&page); err != nil {
			return nil, err
		}
		token, _ := page["next_page_token"].(string)
		delete(page, "next_page_token")
		if whole == nil {
			whole = page
		} else {
			join(whole, page, a.merge)
		}
		if token == "" {
			return whole, nil
		}
		fields["page_token"] = token
	}
}

// join appends the lists of a page, also those of its settings.
func join(whole, page map[string]any, lists []string) {
	for _, name := range lists {
		if more, ok := page[name].([]any); ok {
			so, _ := whole[name].([]any)
			whole[name] = append(so, more...)
		}
	}
	if inner, ok := page["settings"].(map[string]any); ok {
		if so, ok := whole["settings"].(map[string]any); ok {
			join(so, inner, lists)
		}
	}
}

// printTable shows a list as text, one a line.
func printTable(w io.Writer, columns []string, items []json.RawMessage) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var titles []string
	for _, column := range columns {
		title, _, _ := strings.Cut(column, "=")
		titles = append(titles, title)
	}
	fmt.Fprintln(t, strings.Join(titles, "\t"))
	for _, raw := range items {
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		var item map[string]any
		if err := d.Decode(&item); err != nil {
			return err
		}
		var cells []string
		for _, column := range columns {
			_, field, _ := strings.Cut(column, "=")
			cells = append(cells, cell(item, field))
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return t.Flush()
}

// cell is a field by its dotted path, as text.
func cell(item map[string]any, field string) string {
	var value any = item
	for part := range strings.SplitSeq(field, ".") {
		m, ok := value.(map[string]any)
		if !ok {
			return ""
		}
		value = m[part]
	}
	if value == nil {
		return ""
	}
	return strings.ReplaceAll(fmt.Sprint(value), "\n", " ")
}
