package main

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/varvedb/varve/compute/control"
)

const day = 24 * time.Hour

// span is a flag's length of time, as Go has them and in whole days and weeks: 90m, 7d, 2w.
type span time.Duration

func (s *span) Type() string { return "DURATION" }

func (s *span) String() string {
	if d := time.Duration(*s); d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return time.Duration(*s).String()
}

func (s *span) Set(text string) error {
	for suffix, unit := range map[string]time.Duration{"d": day, "w": 7 * day} {
		number, found := strings.CutSuffix(text, suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(unit) {
			return errors.New("want a length of time, such as 12h, 7d or 2w")
		}
		*s = span(time.Duration(n) * unit)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("want a length of time, such as 12h, 7d or 2w")
	}
	*s = span(d)
	return nil
}

// size is a flag's number of bytes: 1000, 64MiB.
type size int64

func (n *size) Type() string { return "SIZE" }

func (n *size) String() string {
	for shift, suffix := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if unit := size(1) << (10 * (4 - shift)); *n >= unit && *n%unit == 0 {
			return strconv.FormatInt(int64(*n/unit), 10) + suffix
		}
	}
	return strconv.FormatInt(int64(*n), 10)
}

func (n *size) Set(text string) error {
	unit, number := int64(1), strings.TrimSuffix(text, "B")
	for shift, suffix := range []string{"Ki", "Mi", "Gi", "Ti"} {
		if rest, found := strings.CutSuffix(number, suffix); found {
			unit, number = 1<<(10*(shift+1)), rest
		}
	}
	v, err := strconv.ParseInt(number, 10, 64)
	if err != nil || v < 1 || v > math.MaxInt64/unit {
		return errors.New("want a number of bytes, such as 64MiB or 2GiB")
	}
	*n = size(v * unit)
	return nil
}

// forever is how a window is named that keeps all.
const forever = "forever"

// history is the flag of a window's length: a span of a second or more, or forever.
type history struct{ window *control.Window }

func (h history) Type() string { return "DURATION|" + forever }

func (h history) String() string {
	switch {
	case h.window == nil || h.window.Seconds == 0:
		return ""
	case h.window.Seconds < 0:
		return forever
	}
	s := span(time.Duration(h.window.Seconds) * time.Second)
	return s.String()
}

func (h history) Set(text string) error {
	if text == forever {
		h.window.Seconds = control.WindowForever
		return nil
	}
	var s span
	if s.Set(text) != nil || time.Duration(s) < time.Second {
		return errors.New("want a length of time, such as 12h, 7d or 2w, or " + forever)
	}
	h.window.Seconds = int64(time.Duration(s) / time.Second)
	return nil
}
