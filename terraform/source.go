package terraform

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/state"
)

// MirrorVariable names a folder of real providers, laid out as `terraform
// providers mirror` does.
const MirrorVariable = "WHERRY_TERRAFORM_MIRROR"

// Source says where each of the providers comes from that wherry can stand in
// for: those that are in neither list come from the engine's registry.
type Source struct {
	StandIns []string `json:"stand_ins"`
	Mirrored []string `json:"mirrored"`
	Mirror   string   `json:"mirror"` // the folder, "" for none
	// Reason is why the real ones of StandIns cannot be had, for people.
	Reason string `json:"reason"`
}

// Locate decides for each provider whether the real one can be had: from the
// mirror that is named, else from the registry of the engine if that answers
// within two seconds.
func Locate(ctx context.Context, program string) Source {
	var s Source
	if dir := os.Getenv(MirrorVariable); dir != "" {
		have, err := mirrored(dir, registry(program))
		if err != nil {
			return Source{StandIns: StandIns, Reason: fmt.Sprintf("%s names %s, which is no mirror for %s: %v", MirrorVariable, dir, engineName(program), err)}
		}
		s.Mirror, s.Mirrored = dir, have
	}
	for _, source := range StandIns {
		if !slices.Contains(s.Mirrored, source) {
			s.StandIns = append(s.StandIns, source)
		}
	}
	if len(s.StandIns) == 0 {
		return s
	}
	if s.Reason = unreachable(ctx, registry(program)); s.Reason == "" {
		s.StandIns = nil
	} else if s.Mirror != "" {
		s.Reason = "the mirror does not have them, and " + s.Reason
	}
	return s
}

// String names the providers and where they come from, for people.
func (s Source) String() string {
	var parts []string
	if len(s.Mirrored) > 0 {
		parts = append(parts, "the real "+strings.Join(s.Mirrored, ", ")+" from the mirror "+s.Mirror)
	}
	if direct := s.direct(); len(direct) > 0 {
		parts = append(parts, "the real "+strings.Join(direct, ", ")+" from the public registry")
	}
	if len(s.StandIns) > 0 {
		parts = append(parts, "wherry's stand-ins for the providers "+strings.Join(s.StandIns, ", ")+": "+s.Reason)
	}
	return strings.Join(parts, ", and ")
}

// direct are the providers that come from the registry.
func (s Source) direct() []string {
	return slices.DeleteFunc(slices.Clone(StandIns), func(source string) bool {
		return slices.Contains(s.StandIns, source) || slices.Contains(s.Mirrored, source)
	})
}

// Configure writes into dir what makes the engine take each provider from where
// s says, exe being this program, and returns the file to name in
// TF_CLI_CONFIG_FILE: "" if the user's own configuration is right as it is.
// Stand-ins are development overrides, and the engine says that they are in effect.
func (s Source) Configure(dir, exe string) (configFile string, err error) {
	if len(s.StandIns) == 0 && s.Mirror == "" {
		return "", nil
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Written by wherry: where providers come from.\nprovider_installation {\n")
	if len(s.StandIns) > 0 {
		b.WriteString("  dev_overrides {\n")
		for _, source := range s.StandIns {
			folder, err := standIn(dir, source, exe)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "    %q = %q\n", source, folder) // in the registry of either engine
		}
		b.WriteString("  }\n")
	}
	exclude := "[]"
	if s.Mirror != "" {
		all, err := filepath.Glob(filepath.Join(s.Mirror, "*.*", "*", "*")) // host, namespace, name
		if err != nil {
			return "", err
		}
		for i, folder := range all {
			rel, err := filepath.Rel(s.Mirror, folder)
			if err != nil {
				return "", err
			}
			all[i] = fmt.Sprintf("%q", filepath.ToSlash(rel))
		}
		exclude = "[" + strings.Join(all, ", ") + "]"
		fmt.Fprintf(&b, "  filesystem_mirror {\n    path = %q\n  }\n", s.Mirror)
	}
	fmt.Fprintf(&b, "  direct {\n    exclude = %s\n  }\n}\n", exclude)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	// Named by what it says: another command's choice may differ from this one's.
	configFile = filepath.Join(dir, fmt.Sprintf("providers-%.6x.tfrc", sha256.Sum256([]byte(b.String()))))
	return configFile, state.WriteFile(configFile, []byte(b.String()), 0o644)
}

// Environment returns the variables that a command of Terraform needs to use
// what Configure wrote. `terraform init` would ask a registry even for
// providers that are overridden; it leaves out those that are said to run
// already, and starts none itself.
func (s Source) Environment(configFile string, args []string) []string {
	if configFile == "" {
		return nil
	}
	env := []string{"TF_CLI_CONFIG_FILE=" + configFile}
	if Command(args) != "init" || len(s.StandIns) == 0 {
		return env
	}
	running := map[string]any{}
	for _, source := range s.StandIns {
		running[source] = map[string]any{
			"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.Getpid(), "Test": true,
			"Addr": map[string]string{"Network": "unix", "String": filepath.Join(filepath.Dir(configFile), "none")},
		}
	}
	b, _ := json.Marshal(running) // strings and numbers always marshal
	return append(env, "TF_REATTACH_PROVIDERS="+string(b))
}

// standIn lays exe below dir under a provider's name and returns its folder.
func standIn(dir, source, exe string) (folder string, err error) {
	_, name, _ := strings.Cut(source, "/")
	folder = filepath.Join(dir, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	link := filepath.Join(folder, prefix+name)
	if have, _ := os.Readlink(link); have == exe {
		return folder, nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return folder, os.Symlink(exe, link)
}

func engineName(program string) string { return filepath.Base(program) }

// registry is the host that an engine takes a provider without one from.
func registry(program string) string {
	if engineName(program) == "tofu" {
		return "registry.opentofu.org"
	}
	return "registry.terraform.io"
}

// mirrored are the providers of StandIns that a mirror has.
func mirrored(dir, host string) (have []string, err error) {
	if _, err := os.Stat(filepath.Join(dir, host)); err != nil {
		return nil, err
	}
	for _, source := range StandIns {
		if _, err := os.Stat(filepath.Join(dir, host, filepath.FromSlash(source))); err == nil {
			have = append(have, source)
		}
	}
	return have, nil
}

// unreachable says why a registry cannot be used, "" if it can.
func unreachable(ctx context.Context, host string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/.well-known/terraform.json", nil)
	if err != nil {
		return err.Error()
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "the public registry does not answer"
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "the public registry answers " + res.Status
	}
	return ""
}
