package source

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// runtimeOnly are modules that the platform's ML runtime has and our Python
// environment lacks, because of their size or rare use, with the packages that
// give them: the usual one first.
var runtimeOnly = map[string][]string{
	"xgboost": {"xgboost", "xgboost-cpu"}, "lightgbm": {"lightgbm"}, "catboost": {"catboost"}, "torch": {"torch"}, "torchvision": {"torchvision"},
	"tensorflow": {"tensorflow", "tensorflow-cpu"}, "keras": {"keras", "tensorflow"}, "transformers": {"transformers"}, "datasets": {"datasets"},
	"sentence_transformers": {"sentence-transformers"}, "hyperopt": {"hyperopt"}, "optuna": {"optuna"}, "shap": {"shap"},
	"prophet": {"prophet"}, "statsmodels": {"statsmodels"}, "tqdm": {"tqdm"}, "nltk": {"nltk"}, "spacy": {"spacy"}, "ray": {"ray"},
	"accelerate": {"accelerate"}, "langchain": {"langchain"}, "openai": {"openai"}, "tiktoken": {"tiktoken"},
	"cv2": {"opencv-python", "opencv-python-headless", "opencv-contrib-python"}, "imblearn": {"imbalanced-learn"}, "boto3": {"boto3"},
	"openpyxl": {"openpyxl"}, "bs4": {"beautifulsoup4"}, "horovod": {"horovod"}, "petastorm": {"petastorm"},
	"psycopg2": {"psycopg2-binary", "psycopg2"}, "ipywidgets": {"ipywidgets"},
}

var (
	importFrom = regexp.MustCompile(`^\s*from\s+(\w+)(?:\.\w+)*\s+import\b`)
	importList = regexp.MustCompile(`^\s*import\s+([\w.]+(?:\s+as\s+\w+)?(?:\s*,\s*[\w.]+(?:\s+as\s+\w+)?)*)\s*(?:#.*|;.*)?$`)
	listed     = regexp.MustCompile(`(?:^|,)\s*(\w+)`)
	install    = regexp.MustCompile(`^\s*(?:# MAGIC )?(?:%sh\s+|[%!])?pip3? install\s`)
	distro     = regexp.MustCompile(`[A-Za-z][\w.-]*`)
)

// libraries tells which modules of runtimeOnly a line of Python imports, and
// which packages one of a notebook installs.
func libraries(name, line string, add func(kind, what, file string, column int, write bool)) {
	if path.Ext(name) == ".sql" {
		return
	}
	found := func(start, end int) {
		if module := line[start:end]; runtimeOnly[module] != nil {
			add(Library, module, "", start, false)
		}
	}
	if m := importFrom.FindStringSubmatchIndex(line); m != nil {
		found(m[2], m[3])
	}
	if m := importList.FindStringSubmatchIndex(line); m != nil {
		for _, l := range listed.FindAllStringSubmatchIndex(line[m[2]:m[3]], -1) {
			found(m[2]+l[2], m[2]+l[3])
		}
	}
	if m := install.FindStringIndex(line); m != nil {
		for _, word := range Packages(line[m[1]:]) {
			add(Library, word, "", m[0], true)
		}
	}
}

var separators = regexp.MustCompile(`[-_.]+`)

// Packages are the words of a text that may name packages, spelt as PEP 503
// says: in small letters, with single hyphens.
func Packages(text string) []string {
	words := distro.FindAllString(text, -1)
	for i, word := range words {
		words[i] = strings.ToLower(separators.ReplaceAllString(word, "-"))
	}
	return words
}

// Provider is the package that usually gives a module which Scan called a
// Library; given tells whether it or another that does is among the installed.
func Provider(module string, installed map[string]bool) (usual string, given bool) {
	packages := runtimeOnly[module]
	if len(packages) == 0 {
		return module, true
	}
	return packages[0], slices.ContainsFunc(packages, func(p string) bool { return installed[p] })
}
