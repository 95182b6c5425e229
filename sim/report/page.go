package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/varvedb/varve/sim"
	"github.com/varvedb/varve/sim/check"
	"github.com/varvedb/varve/sim/world"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// picturesMax bounds the pages whose histories are drawn: the first is mostly the cause.
const picturesMax = 3

// page is what the template shows.
type page struct {
	Title      string
	OK         bool
	Failure    string
	Stack      string // of a panic
	Broke      bool   // the run ended where it failed
	Summary    string
	Command    string
	Commit     string
	Seed       uint64
	Profile    string
	Options    string
	Verdicts   []string
	Faults     check.Counts
	Whole      picture
	Close      picture
	Dropped    int
	Divergence *divergence
	Rows       []row
	Events     []string // that nodes noted in the window
	Pages      []history
}

// history is the picture of one page's history.
type history struct {
	Title string
	HTML  string // a whole document
	Error string
}

// Write runs a run again and writes its page. command is what runs it again from its file. An invalid
// window is replaced by the last second of a run in which code panicked, else by a second
// around the first divergence from a neighbour that passes, or, if there is none, by the
// last second of the storm.
func Write(w io.Writer, opts sim.Options, tape *world.Tape, command string, window Window) error {
	first := record(opts, tape, keep{near: -1})
	apart := diverge(first, tape)
	if !window.valid() {
		window = choose(first.result, apart)
	}
	full := record(opts, tape, keep{near: -1, window: window})
	return write(w, full, apart, commands(command, full.result), window)
}

// commands is what runs a run again: from its file, and without it where its seed is enough,
// which it is not once options or tape were changed, as those of a run that was made small.
func commands(fromFile string, r *sim.Result) string {
	o := r.Options
	drawn, err := sim.Draw(o.Seed, o.Profile)
	if err != nil || drawn.Without(o.Off...) != nil || drawn.String() != o.String() || sim.Run(drawn, sim.Play{}).Hash != r.Hash {
		return fromFile
	}
	return o.Command() + "\n" + fromFile
}

// choose chooses a window.
func choose(r *sim.Result, apart *divergence) Window {
	middle := min(r.Options.Storm, r.Virtual)
	if broke(r) {
		return Window{From: max(0, r.Virtual-time.Second), To: r.Virtual}
	}
	if apart != nil && len(apart.Failed) > 0 {
		middle = apart.at().At
	}
	return Window{From: max(0, middle-time.Second/2), To: middle + time.Second/2}
}

// broke reports whether a run ended where it failed: code of it panicked.
func broke(r *sim.Result) bool { return r.Err != nil && strings.Contains(r.Err.Error(), ": panic: ") }

func write(w io.Writer, rec *recording, apart *divergence, command string, window Window) error {
	r := rec.result
	failure, stack := r.Failure(), ""
	if broke(r) {
		failure, stack, _ = strings.Cut(failure, "\n")
	}
	p := &page{
		Stack: stack, Broke: broke(r),
		Title:   fmt.Sprintf("seed %d of profile %s", r.Options.Seed, r.Options.Profile),
		OK:      r.OK(),
		Failure: failure,
		Summary: fmt.Sprintf("%d events in %v of virtual time; trace %016x", r.Events, r.Virtual, r.Hash),
		Command: command, Commit: sim.Commit(), Seed: r.Options.Seed, Profile: r.Options.Profile,
		Options: fmt.Sprint(r.Options),
		Whole:   draw("the whole run", rec, Window{0, max(r.Virtual, 1)}),
		Close:   draw(fmt.Sprintf("from %v to %v", window.From, window.To), rec, window),
		Dropped: rec.dropped, Divergence: apart,
	}
	// What a picture of the whole run cannot show are single messages.
	p.Whole.Arrows = nil
	if apart != nil {
		p.Rows = apart.rows()
	}
	for _, f := range r.Fired {
		if f.N > 0 {
			p.Faults = append(p.Faults, f)
		}
	}
	for _, e := range rec.marks {
		if window.holds(e.At) {
			p.Events = append(p.Events, e.String())
		}
	}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		p.Verdicts = append(p.Verdicts, v.String())
		if !v.OK && v.At != (check.Place{}) && len(p.Pages) < picturesMax {
			p.Pages = append(p.Pages, drawHistory(r, v.At))
		}
	}
	var out bytes.Buffer
	if err := pageTemplate.Execute(&out, p); err != nil {
		return fmt.Errorf("draw %s: %w", p.Title, err)
	}
	_, err := w.Write(out.Bytes())
	return err
}

func drawHistory(r *sim.Result, at check.Place) history {
	var out strings.Builder
	h := history{Title: fmt.Sprint(at)}
	if err := check.Picture(&out, &r.Run, at); err != nil {
		h.Error = err.Error()
	}
	h.HTML = out.String()
	return h
}
