package notebook

import (
	"encoding/json"
	"errors"
	"strings"
)

// jupyterFile is what we read and write of nbformat 4.
type jupyterFile struct {
	Cells         []jupyterCell   `json:"cells"`
	Metadata      jupyterMetadata `json:"metadata"`
	NBFormat      int             `json:"nbformat"`
	NBFormatMinor int             `json:"nbformat_minor"`
}

type jupyterMetadata struct {
	Databricks *struct {
		Language string `json:"language"`
	} `json:"application/vnd.databricks.v1+notebook,omitempty"`
	LanguageInfo *struct {
		Name string `json:"name"`
	} `json:"language_info,omitempty"`
}

type jupyterCell struct {
	Type     string   `json:"cell_type"`
	Source   multi    `json:"source"`
	Metadata cellMeta `json:"metadata"`
	// Outputs and Count are there in code cells only.
	Outputs *[]json.RawMessage `json:"outputs,omitempty"`
	Count   *int               `json:"execution_count,omitempty"`
}

type cellMeta struct {
	Databricks *struct {
		Title string `json:"title"`
	} `json:"application/vnd.databricks.v1+cell,omitempty"`
}

// multi is nbformat's multiline string: a string, or a list of its lines.
type multi string

func (m *multi) UnmarshalJSON(data []byte) error {
	var lines []string
	if json.Unmarshal(data, &lines) == nil {
		*m = multi(strings.Join(lines, ""))
		return nil
	}
	return json.Unmarshal(data, (*string)(m))
}

func (m multi) MarshalJSON() ([]byte, error) {
	lines := strings.SplitAfter(string(m), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return json.Marshal(append([]string{}, lines...))
}

func parseJupyter(src []byte) (*Notebook, error) {
	var f jupyterFile
	if err := json.Unmarshal(src, &f); err != nil {
		return nil, err
	}
	if f.Cells == nil {
		return nil, errors.New("it has no cells")
	}
	n := &Notebook{Language: f.language()}
	for _, c := range f.Cells {
		title := ""
		if c.Metadata.Databricks != nil {
			title = c.Metadata.Databricks.Title
		}
		source := strings.ReplaceAll(string(c.Source), "\r\n", "\n")
		switch c.Type {
		case "code":
			n.add(newCell(n.Language, strings.Split(source, "\n"), 1, title))
		case "markdown":
			n.add(Cell{Kind: Markdown, Language: "md", Source: strings.TrimSpace(source), Line: 1, Title: title})
		}
	}
	return n, nil
}

func (f jupyterFile) language() string {
	if d := f.Metadata.Databricks; d != nil && d.Language != "" {
		return strings.ToLower(d.Language)
	}
	if l := f.Metadata.LanguageInfo; l != nil && l.Name != "" {
		return strings.ToLower(l.Name)
	}
	return Python
}

// Jupyter writes the notebook as .ipynb, without outputs.
func (n *Notebook) Jupyter() ([]byte, error) {
	f := jupyterFile{Cells: []jupyterCell{}, NBFormat: 4}
	f.Metadata.LanguageInfo = &struct {
		Name string `json:"name"`
	}{n.Language}
	for _, c := range n.Cells {
		jc := jupyterCell{Type: "code", Source: multi(c.withMagic(n.Language)), Outputs: &[]json.RawMessage{}}
		if c.Kind == Markdown {
			jc = jupyterCell{Type: "markdown", Source: multi(c.Source)}
		}
		f.Cells = append(f.Cells, jc)
	}
	return json.MarshalIndent(f, "", " ")
}
