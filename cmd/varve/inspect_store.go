package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/varvedb/varve/compute/control"
	"github.com/varvedb/varve/lsm/kv"
	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/lsm/manifest"
	"github.com/varvedb/varve/pageserver/pgkey"
	"github.com/varvedb/varve/wal"
)

func (a *app) inspectLayerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "layer FILE", Short: "Check every byte of a layer and print what it holds, a line per version", Args: exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			body, err := readFile(args[0], "layers lie in DIR/bucket/tenants/TENANT/layers/TIMELINE")
			if err != nil {
				return err
			}
			versions := []versionView{}
			desc, err := layer.Check(filepath.Base(args[0]), body, func(v kv.Version) error {
				versions = append(versions, versionView{pgkey.Describe(v.Key), v.Key.String(), v.LSN, v.Kind.String(), len(v.Value)})
				return nil
			})
			if err != nil {
				return err
			}
			talk("%s layer of timeline %s, generation %d: %d versions, %d bytes, every checksum right", desc.Kind, desc.Timeline, desc.Generation, desc.Versions, desc.Size)
			view := struct {
				Timeline wal.TimelineID `json:"timeline"`
				layerView
				Versions []versionView `json:"versions"`
			}{desc.Timeline, newLayerView(desc), versions}
			return a.print(view, []string{"KEY", "LSN", "KIND", "BYTES"}, versionRows(versions))
		},
	}
}

// versionView is a version of a key in JSON.
type versionView struct {
	Key    string  `json:"key"`
	KeyHex string  `json:"key_hex"`
	LSN    wal.LSN `json:"lsn"`
	Kind   string  `json:"kind"`
	Bytes  int     `json:"bytes"` // of the value
}

func versionRows(versions []versionView) [][]string {
	rows := make([][]string, len(versions))
	for i, v := range versions {
		rows[i] = []string{v.Key, v.LSN.String(), v.Kind, strconv.Itoa(v.Bytes)}
	}
	return rows
}

// layerView is a layer in JSON.
type layerView struct {
	Name         string         `json:"name"` // of its file
	Kind         string         `json:"kind"`
	FirstKey     string         `json:"first_key"`
	LastKey      string         `json:"last_key"`
	FirstKeyHex  string         `json:"first_key_hex"`
	LastKeyHex   string         `json:"last_key_hex"`
	From         wal.LSN        `json:"from_lsn"`
	To           wal.LSN        `json:"to_lsn"`
	Generation   wal.Generation `json:"generation"`
	VersionCount int64          `json:"version_count"`
	Bytes        int64          `json:"bytes"`
	CRC          string         `json:"crc32c"` // of the file
}

func newLayerView(d layer.Desc) layerView {
	return layerView{
		Name: d.Name(), Kind: d.Kind.String(), From: d.LSNLo, To: d.LSNHi, Generation: d.Generation,
		FirstKey: pgkey.Describe(d.KeyLo), LastKey: pgkey.Describe(d.KeyHi), FirstKeyHex: d.KeyLo.String(), LastKeyHex: d.KeyHi.String(),
		VersionCount: d.Versions, Bytes: d.Size, CRC: fmt.Sprintf("%08x", d.CRC),
	}
}

func (a *app) inspectIndexCommand() *cobra.Command {
	return &cobra.Command{
		Use: "index FILE", Short: "Check a timeline's index and print what it holds", Args: exactArgs("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			index, err := readIndex(args[0])
			if err != nil {
				return err
			}
			view := newIndexView(index)
			view.tell()
			rows := make([][]string, len(view.Layers))
			for i, l := range view.Layers {
				rows[i] = []string{l.Kind, l.FirstKey, l.LastKey, l.From.String(), l.To.String(), strconv.FormatInt(l.VersionCount, 10), strconv.FormatInt(l.Bytes, 10)}
			}
			return a.print(view, []string{"LAYER", "FIRST KEY", "LAST KEY", "FROM", "TO", "VERSIONS", "BYTES"}, rows)
		},
	}
}

// readIndex reads an index that a user named.
func readIndex(path string) (*manifest.Index, error) {
	const where = "indexes lie below DIR/bucket/tenants/TENANT/timelines"
	body, err := readFile(path, where)
	switch {
	case err != nil:
		return nil, err
	case bytes.HasPrefix(body, []byte("varveLYR")):
		return nil, control.Errorf(control.CodeUsage, "%s is a layer and no index: see `varve inspect layer`; %s", path, where)
	case !bytes.HasPrefix(body, []byte("varveIDX")):
		return nil, control.Errorf(control.CodeFailed, "%s is no index, or its beginning is damaged: an index begins with varveIDX; %s", path, where)
	}
	return manifest.Decode(filepath.Base(path), body)
}

// indexView is a timeline's index in JSON.
type indexView struct {
	Timeline   wal.TimelineID  `json:"timeline"`
	Parent     *wal.TimelineID `json:"parent,omitempty"` // a root has none
	BranchLSN  wal.LSN         `json:"branch_lsn,omitempty"`
	Start      wal.LSN         `json:"start_lsn"`
	Durable    wal.LSN         `json:"durable_lsn"`
	Cutoff     wal.LSN         `json:"cutoff_lsn"`
	State      string          `json:"state"`
	Generation wal.Generation  `json:"generation"`
	Writer     string          `json:"writer"`
	Sequence   uint64          `json:"sequence"` // of the writer's PUTs
	Label      *labelView      `json:"label,omitempty"`
	LabelHex   string          `json:"label_hex,omitempty"` // if it is none of ours
	Layers     []leveledView   `json:"layers"`
	Dead       []string        `json:"dead_layers"` // names of those whose objects may be there still
	Leases     []leaseView     `json:"leases"`
	Marks      []markView      `json:"marks"`
	Pins       []wal.LSN       `json:"pins"`      // the last cutoff collected for, and what was kept below it
	PinsGone   bool            `json:"pins_gone"` // what was kept for others may be there still
}

// leveledView is a layer as an index has it.
type leveledView struct {
	layerView
	Level uint8 `json:"level"` // 0 flushed, 1 merged, 2 collected
}

// leaseView is a lease in JSON.
type leaseView struct {
	ID    string    `json:"id"`
	LSN   wal.LSN   `json:"lsn"`
	Until time.Time `json:"until"`
}

// markView is a moment at which log up to an LSN was durable, in JSON.
type markView struct {
	Time time.Time `json:"time"`
	LSN  wal.LSN   `json:"lsn"`
}

// labelView is what an index carries for whoever names timelines: its branch.
type labelView struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

func newIndexView(x *manifest.Index) indexView {
	view := indexView{
		Timeline: x.Timeline, BranchLSN: x.BranchLSN, Start: x.Start, Durable: x.Durable, Cutoff: x.Cutoff,
		State: "live", Generation: x.Generation, Writer: hex.EncodeToString(x.Writer[:]), Sequence: x.Sequence,
		Layers: make([]leveledView, len(x.Layers)), Dead: make([]string, len(x.Dead)),
		Leases: make([]leaseView, len(x.Leases)), Marks: make([]markView, len(x.Marks)), Pins: append([]wal.LSN{}, x.Pins...), PinsGone: x.PinsGone,
	}
	if !x.IsRoot() {
		view.Parent = &x.Parent
	}
	switch x.State {
	case manifest.Deleting:
		view.State = "deleting"
	case manifest.Doomed:
		view.State = "doomed"
	}
	var label labelView
	if err := json.Unmarshal(x.Meta, &label); err == nil && label.Name != "" {
		view.Label = &label
	} else {
		view.LabelHex = hex.EncodeToString(x.Meta)
	}
	for i, l := range x.Layers {
		view.Layers[i] = leveledView{newLayerView(l), l.Level}
	}
	for i, id := range x.Dead {
		view.Dead[i] = id.Name()
	}
	for i, l := range x.Leases {
		view.Leases[i] = leaseView{hex.EncodeToString(l.ID[:]), l.LSN, time.Unix(l.End, 0).UTC()}
	}
	for i, m := range x.Marks {
		view.Marks[i] = markView{time.Unix(m.Time, 0).UTC(), m.LSN}
	}
	return view
}

// tell says to a person what the table of layers does not.
func (v *indexView) tell() {
	if v.Label != nil {
		talk("branch %s, made at %s", v.Label.Name, v.Label.Created.Format(time.RFC3339))
	}
	talk("timeline %s (%s), generation %d, starts at %s, durable up to %s, horizon %s", v.Timeline, v.State, v.Generation, v.Start, v.Durable, v.Cutoff)
	if v.Parent != nil {
		talk("a branch of timeline %s at %s", v.Parent, v.BranchLSN)
	}
}
