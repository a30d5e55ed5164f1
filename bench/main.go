// Command bench measures what wherry's users feel, on this machine: it builds
// the binary, starts servers of its own in a temporary folder and prints one
// JSON line for each figure.
//
//	go run ./bench                   all but the demo, about a minute
//	go run ./bench -parts all        and the whole demo
//	go run ./bench -parts tasks,demo what is named: start, idle, tasks, deploy, demo, trace, push, ci
//	go run ./bench -peers DIR and bench_notebooks.py from DIR (papermill, nbconvert)
//
// Times are wall times. A figure's value is the median of n.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/state"
)

// figure is a line of the output. Aims are upper limits.
type figure struct {
	Figure string  `json:"figure"`
	Value  float64 `json:"value"` // the median
	Unit   string  `json:"unit"`
	Aim    float64 `json:"aim,omitempty"`
	N      int     `json:"n"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	Load   string  `json:"load"` // the machine's load average of a minute, when measured
}

// bench is one run of this command.
type bench struct {
	out     *json.Encoder
	wherry  string // the built binary
	dir     string // everything is below; removed at the end
	env     *environment.Environment
	repeat  int
	servers []*process
}

func main() {
	parts := flag.String("parts", "start,idle,tasks,deploy", "what is measured, with commas between: start, idle, tasks, deploy, demo, trace, push, ci; or all")
	peers := flag.String("peers", "", "folder that holds bench_notebooks.py, which is run too")
	repeat := flag.Int("n", 20, "how often a task is run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := measure(ctx, *parts, *peers, *repeat)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure prints the figures of the named parts.
func measure(ctx context.Context, parts, peers string, repeat int) (err error) {
	env, err := environment.Open()
	if err != nil {
		return fmt.Errorf("%w (run `go run ./cmd/wherry setup`)", err)
	}
	dir, err := os.MkdirTemp("", "wherry-bench-")
	if err != nil {
		return err
	}
	b := &bench{out: json.NewEncoder(os.Stdout), dir: dir, env: env, wherry: filepath.Join(dir, "wherry"), repeat: repeat}
	defer func() { err = errors.Join(err, b.close()) }()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.wherry, "github.com/wherry-ml/wherry/cmd/wherry").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"start", b.coldStart}, {"idle", b.idle}, {"tasks", b.tasks}, {"deploy", b.deploys}, {"demo", b.demo}, {"trace", b.traceQuery}, {"push", b.pushes}, {"ci", b.ci}} {
		if parts != "all" && !slices.Contains(strings.Split(parts, ","), part.name) {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return err
		}
		if err := b.stopServers(); err != nil { // each part has the machine to itself
			return err
		}
	}
	if peers == "" {
		fmt.Fprintln(os.Stderr, "bench: -peers DIR adds papermill and nbconvert by DIR/bench_notebooks.py")
		return nil
	}
	return b.peers(ctx, peers)
}

// close ends what runs and removes what was written.
func (b *bench) close() error {
	return errors.Join(b.stopServers(), os.RemoveAll(b.dir))
}

// state makes an empty state directory.
func (b *bench) state(name string) state.Dir { return state.Dir(filepath.Join(b.dir, name)) }

// print prints a figure: the median of values.
func (b *bench) print(name, unit string, aim float64, values ...float64) {
	slices.Sort(values)
	round := func(v float64) float64 { return math.Round(v*100) / 100 }
	_ = b.out.Encode(figure{
		Figure: name, Value: round(values[len(values)/2]), Unit: unit, Aim: aim, N: len(values),
		Min: round(values[0]), Max: round(values[len(values)-1]), Load: load(),
	})
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

// sample times fn n times, in milliseconds.
func sample(n int, fn func() error) ([]float64, error) {
	var values []float64
	for range n {
		started := time.Now()
		if err := fn(); err != nil {
			return nil, err
		}
		values = append(values, milliseconds(time.Since(started)))
	}
	return values, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// peers runs the peers' notebook script and prints its lines with their
// system's name.
func (b *bench) peers(ctx context.Context, dir string) error {
	script := filepath.Join(dir, "bench_notebooks.py")
	if _, err := os.Stat(script); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("-peers: there is no %s; the folder must hold the peers' scripts", script)
	}
	c := exec.CommandContext(ctx, b.env.Python, script, filepath.Join(b.dir, "peers"))
	c.Stderr = os.Stderr
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // it ends what it started
	out, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	for lines := json.NewDecoder(out); ; {
		var line struct {
			System, Figure, Unit string
			N                    int
			Min, Median, Max     float64
		}
		if err := lines.Decode(&line); err == io.EOF {
			return c.Wait()
		} else if err != nil {
			return errors.Join(err, c.Cancel(), c.Wait())
		}
		_ = b.out.Encode(figure{
			Figure: line.System + ": " + line.Figure, Value: line.Median, Unit: line.Unit, N: line.N,
			Min: line.Min, Max: line.Max, Load: load(),
		})
	}
}
