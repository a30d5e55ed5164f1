package protocol

import (
	"encoding/json"

	"github.com/wherry-ml/wherry/sandbox"
)

// Kinds of task that a zygote runs.
const (
	Notebook = "notebook"
	Script   = "script"
	Wheel    = "wheel"
	// Command is a program of any kind: Argv, with Input on its standard input.
	Command = "command"
)

// Task is one attempt as the agent and the Python in it see it: everything
// that the run needs, references resolved.
type Task struct {
	RunID       int64  `json:"run_id"`
	JobRunID    int64  `json:"job_run_id"`
	JobID       int64  `json:"job_id"`
	JobName     string `json:"job_name"`
	TaskKey     string `json:"task_key"`
	Attempt     int    `json:"attempt"`
	WorkspaceID int64  `json:"workspace_id"`
	Kind        string `json:"kind"`
	// Path is where the notebook or script is below /Workspace, /Volumes or
	// /dbfs, with its extension.
	Path string `json:"path,omitempty"`
	// Language is the notebook's default language.
	Language string `json:"language,omitempty"`
	// Source is the cells of a notebook, as package notebook parsed them.
	Source json.RawMessage `json:"source,omitempty"`
	// Argv are the parameters of a script or the positional ones of a wheel.
	Argv []string `json:"argv,omitempty"`
	// GraceMillis is how long a command may go on after it was told to end: a
	// cancel interrupts it first.
	GraceMillis int64 `json:"grace_ms,omitempty"`
	// Input is for the standard input of a command. It may hold secrets.
	Input           json.RawMessage   `json:"input,omitempty"`
	PackageName     string            `json:"package_name,omitempty"`
	EntryPoint      string            `json:"entry_point,omitempty"`
	NamedParameters map[string]string `json:"named_parameters,omitempty"`
	// Parameters are the values of a notebook's widgets.
	Parameters map[string]string `json:"parameters,omitempty"`
	// Overlay is a folder of libraries that goes before the runtime's own.
	Overlay string `json:"overlay,omitempty"`
	// Roots are folders that go on sys.path beside the script's own: the
	// deployed project's.
	Roots []string `json:"roots,omitempty"`
	// Tree is the deployed file tree that the task sees unchanged until it ends.
	Tree *Tree `json:"tree,omitempty"`

	APIURL    string            `json:"api_url"`  // as the task reaches the server
	BaseURL   string            `json:"base_url"` // as people reach it: links
	Host      string            `json:"host"`     // host:port of BaseURL
	Token     string            `json:"token"`
	ClusterID string            `json:"cluster_id"`
	UserName  string            `json:"user_name"`
	Env       map[string]string `json:"env,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
	SparkConf map[string]string `json:"spark_conf,omitempty"`
	// Catalog and Schema are what names of tables without them mean.
	Catalog string `json:"catalog,omitempty"`
	Schema  string `json:"schema,omitempty"`
}

// Tree is a deployed tree and the place where the task sees it.
type Tree struct {
	Digest string `json:"digest"`
	Root   string `json:"root"` // below /Workspace
}

// Config is DIR/agent.json: what a server gives an agent at its start.
type Config struct {
	ID          string `json:"id"`
	WorkspaceID int64  `json:"workspace_id"`
	// Box is where all of the cluster's processes run.
	Box sandbox.Spec `json:"box"`
	// Python is the interpreter of the runtime, "" if it has not been set up.
	Python string `json:"python"`
	// PythonPath is where package wherry_runtime is.
	PythonPath string `json:"python_path"`
	// Zygote is the module that forks tasks.
	Zygote string            `json:"zygote"`
	Env    map[string]string `json:"env,omitempty"` // of every process of the cluster
	// APIURL is where processes in a box with a network of its own reach the
	// server, wherever a later server listens outside.
	APIURL string `json:"api_url,omitempty"`
	// IdleMillis is how long the agent stays without a server and without work.
	IdleMillis int64 `json:"idle_ms"`
	// OutputLimit bounds a task's stdout and stderr, in bytes.
	OutputLimit int64 `json:"output_limit"`
	Cores       int   `json:"cores"`
	MemoryMB    int   `json:"memory_mb"`
	// User is who current_user() is in Spark.
	User string `json:"user"`
	// TrustStore is a PKCS12 file as the box sees it, for the driver; Proxy the
	// host:port through which it reaches the network where it has none of its own.
	TrustStore         string `json:"trust_store,omitempty"`
	TrustStorePassword string `json:"trust_store_password,omitempty"`
	Proxy              string `json:"proxy,omitempty"`
	// Single says that the agent is for one task: it is not lent again.
	Single bool `json:"single,omitempty"`
	// Shape is what clusters must have in common to use this agent in turn.
	Shape     string            `json:"shape"`
	SparkConf map[string]string `json:"spark_conf,omitempty"`
}

// Where the box shows what it is given beside /Workspace, /Volumes and /dbfs.
const (
	InsideRun     = "/run/wherry/run"     // the agent's own run folder
	InsideTrees   = "/run/wherry/trees"   // deployed trees by digest
	InsideManaged = "/run/wherry/managed" // the files of managed tables
	InsideCA      = "/run/wherry/ca"      // bundle.pem, truststore.p12
	InsidePython  = "/run/wherry/python"  // package wherry_runtime
	InsideProgram = "/run/wherry/wherry"  // this program, for commands
)

// Names in an agent's folder.
const (
	ConfigFile = "agent.json"
	TokenFile  = "token"
	EpochFile  = "epoch"
	LockFile   = "agent.lock"
	LogFile    = "agent.log"
	// EndedFile says that a server has given the agent up: one that starts
	// late must not.
	EndedFile = "ended"
	// SpoolDir holds RUN.out, RUN.events and, once the task has ended, RUN.result.
	SpoolDir = "spool"
	// RunDir is the agent's own run folder, one folder a task below it.
	RunDir = "run"
)
