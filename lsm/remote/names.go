package remote

import (
	"strings"

	"github.com/varvedb/varve/lsm/layer"
	"github.com/varvedb/varve/wal"
)

const (
	rootName  = "root"
	indexName = "index"
)

// TenantPrefix begins the keys of all that is a tenant's.
func TenantPrefix(tenant wal.TenantID) string { return "tenants/" + tenant.String() + "/" }

// TimelinesPrefix begins the keys of a tenant's index objects.
func TimelinesPrefix(tenant wal.TenantID) string {
	return TenantPrefix(tenant) + "timelines/"
}

// ChildrenPrefix begins the keys of the index objects of a timeline's children.
func ChildrenPrefix(tenant wal.TenantID, parent wal.TimelineID) string {
	return TimelinesPrefix(tenant) + parentName(parent) + "/"
}

// IndexKey is the key of a timeline's index object; parent is zero for a root.
func IndexKey(tenant wal.TenantID, parent, timeline wal.TimelineID) string {
	return ChildrenPrefix(tenant, parent) + timeline.String() + "/" + indexName
}

func parentName(parent wal.TimelineID) string {
	if parent.IsZero() {
		return rootName
	}
	return parent.String()
}

// ParseIndexKey reads what [IndexKey] writes; ok is false for any other key.
func ParseIndexKey(tenant wal.TenantID, key string) (parent, timeline wal.TimelineID, ok bool) {
	rest, ok := strings.CutPrefix(key, TimelinesPrefix(tenant))
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 || parts[2] != indexName {
		return parent, timeline, false
	}
	if parts[0] != rootName {
		var err error
		if parent, err = wal.ParseTimelineID(parts[0]); err != nil || parent.IsZero() {
			return parent, timeline, false
		}
	}
	timeline, err := wal.ParseTimelineID(parts[1])
	return parent, timeline, err == nil && IndexKey(tenant, parent, timeline) == key
}

// LayersPrefix begins the keys of a timeline's layers.
func LayersPrefix(tenant wal.TenantID, timeline wal.TimelineID) string {
	return layersPrefix(tenant) + timeline.String() + "/"
}

// ParseLayerKey finds the timeline of what lies where layers do; ok is false elsewhere.
func ParseLayerKey(tenant wal.TenantID, key string) (timeline wal.TimelineID, ok bool) {
	rest, below := strings.CutPrefix(key, layersPrefix(tenant))
	id, _, _ := strings.Cut(rest, "/")
	timeline, err := wal.ParseTimelineID(id)
	return timeline, below && err == nil && strings.HasPrefix(key, LayersPrefix(tenant, timeline))
}

func layersPrefix(tenant wal.TenantID) string { return TenantPrefix(tenant) + "layers/" }

// LayerKey is the key of a layer.
func LayerKey(tenant wal.TenantID, id layer.ID) string {
	return LayersPrefix(tenant, id.Timeline) + id.Name()
}
