package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"regexp"
	"time"

	"github.com/wherry-ml/wherry/store/compute"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/store/notify"
)

const (
	// pause is how long changes are gathered before they are sent.
	pause = 250 * time.Millisecond
	// beat is how often a page is looked at without a change: bars of tasks that
	// run grow, and a connection that is gone is noticed.
	beat = 5 * time.Second
)

// ticking is text that the page's script counts on by itself.
var ticking = regexp.MustCompile(`(data-since="\d+">)[^<]*`)

// Version names a section's content.
func (s section) Version() string {
	h := fnv.New64a()
	_, _ = h.Write(ticking.ReplaceAll([]byte(s.HTML), []byte("$1")))
	return fmt.Sprintf("%x", h.Sum64())
}

// liveRun sends the parts of a run's page that change, until the run has
// ended and those who are told of it were told.
func (s *Service) liveRun(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "run")
	if err != nil {
		return err
	}
	return s.live(w, r, []string{jobs.TopicRun, notify.Topic}, func(ctx context.Context) ([]section, bool, error) {
		run, _, err := s.find(ctx, id)
		if err != nil {
			return nil, false, err
		}
		v, err := s.viewRun(ctx, run, time.Now())
		if err != nil {
			return nil, false, err
		}
		list, err := s.runSections(v)
		return list, run.Terminal() && !v.telling(), err
	})
}

// liveTask does so for a task run's page, its cells and log among them.
func (s *Service) liveTask(w http.ResponseWriter, r *http.Request) error {
	_, t, err := s.findTask(r)
	if err != nil {
		return err
	}
	return s.live(w, r, []string{jobs.TopicRun, compute.OutputTopic(t.ID)}, func(ctx context.Context) ([]section, bool, error) {
		run, t, err := s.find(ctx, t.ID)
		if err != nil {
			return nil, false, err
		}
		v, err := s.viewTask(ctx, run, t)
		if err != nil {
			return nil, false, err
		}
		list, err := s.taskSections(v)
		return list, t.Terminal(), err
	})
}

// live renders when one of the topics changed, and sends the sections that
// became others as server-sent events. After the last ones comes the event
// "end": the page closes the stream then.
func (s *Service) live(w http.ResponseWriter, r *http.Request, topics []string, render func(context.Context) (list []section, last bool, err error)) error {
	ctx := r.Context()
	changed, stop := s.cfg.Jobs.DB().Watch(topics...)
	defer stop()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	out := stream{w: w, flush: http.NewResponseController(w).Flush, sent: map[string]string{}}
	for begun := false; ; {
		list, last, err := render(ctx)
		if err != nil {
			return err
		}
		if !begun {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Cache-Control", "no-store")
			begun = true
		}
		if err := out.send(list, last); err != nil || last {
			return nil // the page was closed
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.cfg.Stop:
			return nil
		case <-tick.C:
			continue
		case <-changed:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// stream is an open event stream, and which versions of the sections it sent.
type stream struct {
	w     http.ResponseWriter
	flush func() error
	sent  map[string]string
}

func (o *stream) send(list []section, last bool) error {
	if _, err := fmt.Fprint(o.w, ": here\n\n"); err != nil {
		return err
	}
	for _, s := range list {
		version := s.Version()
		if o.sent[s.ID] == version {
			continue
		}
		o.sent[s.ID] = version
		b, err := json.Marshal(map[string]string{"id": s.ID, "version": version, "html": string(s.HTML)})
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(o.w, "event: section\ndata: %s\n\n", b); err != nil {
			return err
		}
	}
	if last {
		if _, err := fmt.Fprint(o.w, "event: end\ndata: {}\n\n"); err != nil {
			return err
		}
	}
	return o.flush()
}
