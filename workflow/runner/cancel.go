package runner

import (
	"strings"
	"sync"
	"time"

	log "github.com/sirupsen/logrus"
)

// What a step gets that is to end, as GitHub's runner gives it: an interrupt,
// so long to tidy up, a request to terminate, so long again, and its end.
const (
	afterInterrupt = 7500 * time.Millisecond
	afterTerminate = 2500 * time.Millisecond
)

// interrupter ends the processes of the step that runs when its job is
// cancelled. The engine would kill them, and asks the step's condition before:
// one that is to go on, such as always(), goes on. It says how that came out
// in its log before it acts, and a hook may take its time.
type interrupter struct {
	once sync.Once // a step of an action, and the step that uses it, are one
}

// Levels implements logrus.Hook.
func (i *interrupter) Levels() []log.Level { return []log.Level{log.InfoLevel} }

// Fire implements logrus.Hook.
func (i *interrupter) Fire(e *log.Entry) error {
	if strings.HasPrefix(e.Message, "Result condition keepStepRunning=false") {
		i.once.Do(endSteps)
	}
	return nil
}
