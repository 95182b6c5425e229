package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/lsm"
)

func (a *app) scrubCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "scrub [BRANCH]",
		Short: "Read every object of the bucket and check its bytes",
		Long: "Read every object of the bucket, or those that a branch lives from, and check every byte.\n" +
			"Lists what is corrupt, what is missing, and what has leaked: it is there, and no index names it.",
		Example: "  varve scrub\n  varve scrub main -o json",
		Args:    optionalBranch,
		RunE: func(cmd *cobra.Command, args []string) error {
			branch := strings.Join(args, "")
			client, err := a.client()
			if err != nil {
				return err
			}
			report, err := client.Scrub(cmd.Context(), branch)
			if err != nil {
				return interrupted(cmd.Context(), err, "the scrub is called off, nothing was changed")
			}
			return a.printScrub(report)
		},
	}
}

func (a *app) printScrub(report control.ScrubReport) error {
	rows := make([][]string, len(report.Flaws))
	for i, f := range report.Flaws {
		where := "-"
		if f.Kind == lsm.FlawCorrupt {
			where = strconv.FormatInt(f.Offset, 10)
		}
		branch := f.Branch
		if branch == "" && !f.Timeline.IsZero() {
			branch = f.Timeline.String()
		}
		rows[i] = []string{string(f.Kind), orDash(branch), f.Object, where, f.What, orDash(oneLine(f.Wanted)), orDash(oneLine(f.Got))}
	}
	var err error
	if len(rows) > 0 || a.output == "json" {
		err = a.print(report, []string{"KIND", "BRANCH", "OBJECT", "OFFSET", "WHAT", "WANTED", "GOT"}, rows)
	}
	if err != nil {
		return err
	}
	read := fmt.Sprintf("%s, %s and %s, %s",
		counted(report.Indexes, "index", "indexes"), counted(report.Layers, "layer", "layers"), counted(report.Others, "other object", "other objects"), plural(report.Bytes, "byte"))
	if report.Lost > 0 {
		return control.Errorf(control.CodeFailed, "%s corrupt or missing in the bucket %s, of %s: put it back from a copy of the bucket, or branch at a moment that does not need it",
			counted(report.Lost, "object is", "objects are"), report.Bucket, read)
	}
	talk("nothing is corrupt or missing, %s leaked: read %s", counted(len(report.Flaws), "object has", "objects have"), read)
	return nil
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
