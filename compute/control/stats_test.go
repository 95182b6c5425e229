package control

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDamagedLayersAreNoMetric(t *testing.T) {
	body, err := json.Marshal(BranchStats{Branch: "b", Metrics: map[string]int64{"layers_aside": 1}, Aside: []string{"a layer: why"}})
	require.NoError(t, err)
	require.JSONEq(t, `{"branch": "b", "timeline": "00000000000000000000000000000000", "metrics": {"layers_aside": 1}, "damaged_layers": ["a layer: why"]}`, string(body))
}
