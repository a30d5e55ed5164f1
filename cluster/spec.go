package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
)

// Spec is what wherry uses of a cluster's settings; all of them are kept as
// they were received.
type Spec struct {
	Name                   string            `json:"cluster_name"`
	SparkVersion           string            `json:"spark_version"`
	NodeType               string            `json:"node_type_id"`
	DriverNodeType         string            `json:"driver_node_type_id"`
	NumWorkers             *int              `json:"num_workers"`
	Autoscale              *Autoscale        `json:"autoscale"`
	SparkConf              map[string]string `json:"spark_conf"`
	Env                    map[string]string `json:"spark_env_vars"`
	AutoterminationMinutes int               `json:"autotermination_minutes"`
	InitScripts            []json.RawMessage `json:"init_scripts"`
	DockerImage            json.RawMessage   `json:"docker_image"`
	InstancePoolID         string            `json:"instance_pool_id"`
	PolicyID               string            `json:"policy_id"`
	RuntimeEngine          string            `json:"runtime_engine"`
}

// Autoscale bounds the number of workers.
type Autoscale struct {
	Min int `json:"min_workers"`
	Max int `json:"max_workers"`
}

func parseSpec(raw json.RawMessage) (Spec, error) {
	var s Spec
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, wherry.Errorf(wherry.CodeInvalidParameter, "the cluster's settings are not valid: %v", err)
	}
	return s, s.Validate()
}

// Validate refuses what can not be, or what wherry can not do.
func (s Spec) Validate() error {
	switch a := s.Autoscale; {
	case s.NumWorkers != nil && *s.NumWorkers < 0:
		return wherry.Errorf(wherry.CodeInvalidParameter, "num_workers is %d: it must not be negative", *s.NumWorkers)
	case a != nil && s.NumWorkers != nil && *s.NumWorkers > 0:
		return wherry.Errorf(wherry.CodeInvalidParameter, "set either num_workers or autoscale, not both")
	case a != nil && a.Max < a.Min:
		return wherry.Errorf(wherry.CodeInvalidParameter, "autoscale: max_workers (%d) is less than min_workers (%d)", a.Max, a.Min)
	case s.AutoterminationMinutes != 0 && (s.AutoterminationMinutes < 10 || s.AutoterminationMinutes > 10000):
		return wherry.Errorf(wherry.CodeInvalidParameter, "autotermination_minutes is %d: it must be 0 or between 10 and 10000", s.AutoterminationMinutes)
	case len(s.DockerImage) > 0 && string(s.DockerImage) != "null":
		return wherry.NotImplemented("docker_image of a cluster")
	}
	return nil
}

// shape is what an agent is made by; two clusters with equal keys may use one
// agent in turn.
type shape struct {
	key         string
	workspaceID int64
	user        string
	cores       int
	memoryMB    int
	conf, env   map[string]string
	volumes     map[string]string // external ones: folders by the path inside
	single      bool              // for one job of a workflow, without the workspace's files
}

// shape says what a cluster runs as on this machine; notes are what differs
// from what was asked for.
func (m *Manager) shape(ws int64, owner wherry.Principal, spec Spec) (shape, []string, error) {
	s := shape{workspaceID: ws, user: owner.UserName, conf: spec.SparkConf, env: spec.Env, cores: runtime.NumCPU(), memoryMB: hostMemoryMB()}
	var notes []string
	nodeType := spec.DriverNodeType
	if nodeType == "" {
		nodeType = spec.NodeType
	}
	if node, ok := nodeTypes[nodeType]; ok {
		if node.cores > s.cores || node.memoryMB > s.memoryMB {
			notes = append(notes, fmt.Sprintf("%s (%d cores, %d GB) is capped at this machine's %d cores, %d GB",
				nodeType, node.cores, node.memoryMB>>10, s.cores, s.memoryMB>>10))
		}
		s.cores, s.memoryMB = min(s.cores, node.cores), min(s.memoryMB, node.memoryMB)
	} else if nodeType != "" {
		notes = append(notes, fmt.Sprintf("node type %s is not known here: it runs with all of this machine's %d cores", nodeType, s.cores))
	}
	if w := spec.workers(); w != "" {
		notes = append(notes, fmt.Sprintf("%s accepted, run as local[%d] on this machine", w, s.cores))
	}
	if spec.SparkVersion != "" {
		notes = append(notes, fmt.Sprintf("spark_version %s runs on %s", spec.SparkVersion, m.runtimeName()))
	}
	if len(spec.InitScripts) > 0 {
		notes = append(notes, "init_scripts are stored and not run")
	}
	if strings.EqualFold(spec.RuntimeEngine, "PHOTON") {
		notes = append(notes, "Photon is not available: Spark's own engine runs")
	}
	var err error
	if m.cfg.Volumes != nil {
		if s.volumes, err = m.cfg.Volumes(); err != nil {
			return s, nil, fmt.Errorf("external volumes: %w", err)
		}
	}
	b, err := json.Marshal([]any{ws, owner.ID, s.cores, s.memoryMB, spec.SparkConf, spec.Env, s.volumes})
	if err != nil {
		return s, nil, err
	}
	sum := sha256.Sum256(b)
	s.key = hex.EncodeToString(sum[:8])
	return s, notes, nil
}

func (s Spec) workers() string {
	switch {
	case s.Autoscale != nil:
		return fmt.Sprintf("autoscale %d-%d", s.Autoscale.Min, s.Autoscale.Max)
	case s.NumWorkers != nil && *s.NumWorkers > 0:
		return fmt.Sprintf("num_workers %d", *s.NumWorkers)
	default:
		return ""
	}
}

// sentence joins notes to one text.
func sentence(notes []string) string { return strings.Join(notes, "; ") }

// hostMemoryMB is the machine's memory; 8 GB where it can not be told.
func hostMemoryMB() int {
	b, err := os.ReadFile("/proc/meminfo")
	if err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
				if kb, err := strconv.Atoi(f[1]); err == nil {
					return kb >> 10
				}
			}
		}
	}
	return 8 << 10
}
