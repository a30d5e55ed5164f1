package runner

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/wherry-ml/wherry/workflow"
)

// limitMark is between a step's name and its timeout-minutes: an expression in
// it is worked out with the name's.
const limitMark = "\n\x1f"

// unlimited is a step's name without its minutes, and these.
func unlimited(name string) (string, string) {
	name, minutes, _ := strings.Cut(name, limitMark)
	return name, minutes
}

// insist is how long after one process of a late step has ended the next is
// ended: the steps of an action may go on after one that fails.
const insist = time.Second

// limit ends the processes of the step that has begun when its time is over:
// not those that steps before it have left in the background.
func (l *logger) limit(e *logrus.Entry) {
	s := l.current(e)
	_, minutes := unlimited(e.Message)
	if minutes == "" { // the message may say something else in the place of the name
		_, minutes = unlimited(fmt.Sprint(e.Data["step"]))
	}
	f, err := strconv.ParseFloat(minutes, 64)
	if s == nil || err != nil || f <= 0 || e.Data["stage"] != "Main" {
		return
	}
	others := map[int]bool{}
	for _, g := range groups(nil) {
		others[g] = true
	}
	time.AfterFunc(time.Duration(f*float64(time.Minute)), func() { l.late(s, "Error: the step exceeded its time of "+minutes+" minutes", others) })
}

// late says once that a step is, and ends it as long as it runs.
func (l *logger) late(s *workflow.Step, say string, others map[int]bool) {
	l.mu.Lock()
	if s.State != workflow.Running {
		l.mu.Unlock()
		return
	}
	if say != "" {
		l.write(say)
	}
	mine := groups(others)
	l.mu.Unlock() // the step can not end before we know its processes
	endGroups(mine)
	time.AfterFunc(insist, func() { l.late(s, "", others) })
}
