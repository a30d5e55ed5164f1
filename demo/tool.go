package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/environment"
)

// version is the first line that a program says of itself.
func version(ctx context.Context, argv ...string) string {
	b, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return argv[0] + " (not found)"
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return line
}

// installed names packages with the versions that pip said in a job's log to
// have installed.
func installed(log string, names ...string) (string, error) {
	var list []string
	for _, name := range names {
		m := regexp.MustCompile(`Successfully installed .*\b(` + regexp.QuoteMeta(name) + `)-(\d[\w.]*)`).FindStringSubmatch(log)
		if m == nil {
			return "", fmt.Errorf("the job's log does not tell that pip installed %s", name)
		}
		list = append(list, m[1]+" "+m[2])
	}
	return strings.Join(list, ", "), nil
}

// deltaJar has Delta's version at its end: delta-spark_4.2_2.13-4.4.0.jar.
var deltaJar = regexp.MustCompile(`^delta-spark_.*-(\d[\w.]*)\.jar$`)

// engines names what runs the project's tasks.
func engines(ctx context.Context) (string, error) {
	e, err := environment.Open()
	if err != nil {
		return "", err
	}
	delta := slices.IndexFunc(e.Jars, func(jar string) bool { return deltaJar.MatchString(filepath.Base(jar)) })
	if delta < 0 {
		return "", errors.New("there is no jar of Delta")
	}
	const ask = "from importlib.metadata import version as v; print('Spark ' + v('pyspark') + ', MLflow ' + v('mlflow'))"
	return version(ctx, e.Python, "-c", ask) + ", Delta " + deltaJar.FindStringSubmatch(filepath.Base(e.Jars[delta]))[1], nil
}

// What the step that sets Terraform up says of the providers.
var (
	realProviders = regexp.MustCompile(`with the real ([a-z/, ]+) from `)
	standIns      = regexp.MustCompile(`wherry's stand-ins for the providers ([a-z/, ]+): (.+)`)
)

// providers tells from a job's log which of Terraform's providers were real, and
// for which wherry stood in.
func providers(log string) (real, fallback string, err error) {
	if m := realProviders.FindStringSubmatch(log); m != nil {
		real = m[1]
	}
	if m := standIns.FindStringSubmatch(log); m != nil {
		fallback = "the providers " + m[1] + " are wherry's stand-ins: " + strings.TrimSpace(m[2])
	}
	if real+fallback == "" {
		return "", "", errors.New("the job's log does not tell whose Terraform's providers are")
	}
	return real, fallback, nil
}
