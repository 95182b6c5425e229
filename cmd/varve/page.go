package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/pageserver/datadir"
	"github.com/varvedb/varve/pageserver/pageapi"
	"github.com/varvedb/varve/pageserver/timeline"
	"github.com/varvedb/varve/wal"
	"github.com/varvedb/varve/wal/env/osenv"
	"github.com/varvedb/varve/wal/pgwal"
)

func (a *app) pageCommand() *cobra.Command {
	var branch, lsn string
	var raw bool
	get := &cobra.Command{
		Use:   "get PATH BLOCK [--branch B] [--lsn L] [--raw]",
		Short: "Print a page as of an LSN; PATH as PostgreSQL names the file",
		Long: "Print a page as of an LSN, as a hex dump; PATH as PostgreSQL names the file.\n" +
			"In JSON, page_base64 holds the 8192 bytes, and block counts from the beginning of the fork, whose files are parts of 1 GiB.",
		Example: "  varve page get base/5/16384 0 --branch main\n" +
			"  varve page get base/5/16384_vm 0 --branch main --lsn 0/16B3748\n" +
			"  varve page get global/1262 0 --branch main --raw > page",
		Args: exactArgs("PATH", "BLOCK"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && a.output == "json" {
				return control.Errorf(control.CodeUsage, "--raw and -o json exclude each other: JSON has the page in base64 (see `%s --help`)", cmd.CommandPath())
			}
			point := branch
			if lsn != "" {
				point += "@" + lsn
			}
			err := a.getPage(cmd.Context(), point, args[0], args[1], raw)
			if errors.Is(err, timeline.ErrStopped) {
				return a.pageBelow(cmd.Context(), point, err)
			}
			return err
		},
	}
	get.Flags().StringVar(&branch, "branch", "main", "branch to read")
	get.Flags().StringVar(&lsn, "lsn", "", "LSN to read at (default: the branch's head)")
	get.Flags().BoolVar(&raw, "raw", false, "write the 8192 bytes as they are")
	return group(&cobra.Command{Use: "page", Short: "Read single pages"}, get)
}

func (a *app) getPage(ctx context.Context, point, path, block string, raw bool) error {
	rel, fork, segment, err := datadir.ParseForkPath(path)
	if err != nil {
		return control.Errorf(control.CodeUsage, "%v (see `varve page get --help`)", err)
	}
	if fork == pgwal.FSMFork {
		return control.Errorf(control.CodeUsage, "%s is a free space map, which is in no log and not stored: name the relation's file, without _fsm", path)
	}
	inFile, err := strconv.ParseUint(block, 10, 32)
	if err != nil {
		return control.Errorf(control.CodeUsage, "block %q: want a number from 0 on", block)
	}
	number, err := blockOf(segment, inFile)
	if err != nil {
		return err
	}
	return a.atPoint(ctx, point, func(ctx context.Context, t *pageapi.Timeline, at wal.LSN) error {
		page := make([]byte, 0, pgwal.PageSize)
		pages := [][]byte{page}
		err := t.GetPages(ctx, []timeline.PageRead{{Rel: rel, Fork: fork, Block: number, LSN: at}}, pages)
		switch {
		case errors.Is(err, timeline.ErrNoRelation):
			return control.Errorf(control.CodeNotFound, "%s is no relation's file at %s: ask Postgres for its name with SELECT pg_relation_filepath('TABLE')", path, at)
		case errors.Is(err, timeline.ErrBeyondEnd):
			return a.beyondEnd(ctx, t, rel, fork, path, number, at)
		case err != nil:
			return control.Coded(err)
		}
		return a.printPage(pageView{path, rel.String(), fork.String(), number, at, pages[0][:pgwal.PageSize]}, raw)
	})
}

// pageBelow is the error of whoever wants a page above where the branch's storage has
// stopped.
func (a *app) pageBelow(ctx context.Context, point string, stopped error) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	branches, err := client.Branches(ctx)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(point, "@")
	for _, b := range branches {
		if b.Name == name {
			return control.Errorf(control.CodeConflict, "%v: read what is there with `--lsn %s`", stopped, b.Ingested)
		}
	}
	return noBranch(name)
}

// pageView is a page in JSON.
type pageView struct {
	Path     string            `json:"path"`     // of the file
	Relation string            `json:"relation"` // tablespace/database/relation
	Fork     string            `json:"fork"`
	Block    pgwal.BlockNumber `json:"block"` // of the fork, which may have several files
	LSN      wal.LSN           `json:"lsn"`
	Page     []byte            `json:"page_base64"`
}

// blockOf finds the block of a relation that a file of it, a segment, has at a place.
func blockOf(segment uint32, inFile uint64) (uint32, error) {
	number := inFile + uint64(segment)*datadir.SegmentBlocks
	if number > math.MaxUint32-1 {
		return 0, control.Errorf(control.CodeUsage, "block %d: no relation has so many", number)
	}
	return uint32(number), nil
}

func (a *app) beyondEnd(ctx context.Context, t *pageapi.Timeline, rel pgwal.RelFileNode, fork pgwal.Fork, path string, number uint32, at wal.LSN) error {
	size, err := t.RelSize(ctx, rel, fork, at)
	if err != nil {
		return control.Coded(err)
	}
	return control.Errorf(control.CodeNotFound, "%s has %d blocks at %s: there is no block %d, name one below", path, size, at, number)
}

func (a *app) printPage(view pageView, raw bool) error {
	if raw {
		_, err := os.Stdout.Write(view.Page)
		return err
	}
	return a.printValue(view, strings.TrimSuffix(hex.Dump(view.Page), "\n"))
}

// pageWait bounds how long a command waits for the pageserver to reach an LSN.
const pageWait = time.Minute

// atPoint resolves a point and calls read with its timeline and LSN, once the
// pageserver has come there.
func (a *app) atPoint(ctx context.Context, point string, read func(context.Context, *pageapi.Timeline, wal.LSN) error) error {
	supervisor, err := a.client()
	if err != nil {
		return err
	}
	at, err := supervisor.Resolve(ctx, point)
	if err != nil {
		return err
	}
	e, err := osenv.New(osenv.Config{Root: os.TempDir()})
	if err != nil {
		return err
	}
	client, err := pageapi.Dial(ctx, e, at.Pageserver)
	if err != nil {
		return fmt.Errorf("connect to the pageserver: %w", err)
	}
	defer client.Close()
	t := client.Timeline(at.Timeline)
	waiting, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	if err := t.WaitLSN(waiting, at.LSN); err != nil {
		return control.Coded(fmt.Errorf("wait until the pageserver is at %s: %w", at.LSN, err))
	}
	return read(ctx, t, at.LSN)
}
