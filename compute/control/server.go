package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
)

// handler serves the supervisor's HTTP API.
func handler(s *Supervisor) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", answer(func(r *http.Request) (any, error) {
		return s.Status(r.Context())
	}))
	mux.Handle("GET /v1/branches", answer(func(r *http.Request) (any, error) {
		return s.Branches(r.Context())
	}))
	mux.Handle("POST /v1/branches", answer(func(r *http.Request) (any, error) {
		var request createBranchRequest
		if err := decode(r, &request); err != nil {
			return nil, err
		}
		// What changes something runs to its end even if the client goes away.
		return s.CreateBranch(context.WithoutCancel(r.Context()), request.Name, request.Parent)
	}))
	mux.Handle("DELETE /v1/branches/{name}", answer(func(r *http.Request) (any, error) {
		return nil, s.DeleteBranch(context.WithoutCancel(r.Context()), r.PathValue("name"))
	}))
	mux.Handle("POST /v1/branches/{name}/detach", answer(func(r *http.Request) (any, error) {
		return s.DetachBranch(context.WithoutCancel(r.Context()), r.PathValue("name"))
	}))
	mux.Handle("POST /v1/branches/{name}/reset", answer(func(r *http.Request) (any, error) {
		var request resetBranchRequest
		if err := decode(r, &request); err != nil {
			return nil, err
		}
		return s.ResetBranch(context.WithoutCancel(r.Context()), r.PathValue("name"), request.Moment)
	}))
	mux.HandleFunc("POST /v1/endpoints", func(w http.ResponseWriter, r *http.Request) { startEndpoint(s, w, r) })
	mux.Handle("DELETE /v1/endpoints/{id}", answer(func(r *http.Request) (any, error) {
		return s.StopEndpoint(context.WithoutCancel(r.Context()), r.PathValue("id"))
	}))
	mux.Handle("GET /v1/resolve", answer(func(r *http.Request) (any, error) {
		return s.Resolve(r.Context(), r.URL.Query().Get("point"))
	}))
	mux.Handle("GET /v1/scrub", answer(func(r *http.Request) (any, error) {
		return s.Scrub(r.Context(), r.URL.Query().Get("branch"))
	}))
	mux.Handle("GET /v1/explain", answer(func(r *http.Request) (any, error) {
		return s.Explain(r.Context(), r.URL.Query().Get("branch"))
	}))
	mux.Handle("GET /v1/stats", answer(func(r *http.Request) (any, error) {
		return s.Stats(r.Context(), r.URL.Query().Get("branch"))
	}))
	handleHistory(mux, s)
	mux.Handle("POST /v1/import", answer(func(r *http.Request) (any, error) {
		var request importRequest
		if err := decode(r, &request); err != nil {
			return nil, err
		}
		return s.Import(context.WithoutCancel(r.Context()), request.Dir, request.Branch)
	}))
	mux.Handle("POST /v1/shutdown", answer(func(*http.Request) (any, error) {
		s.Stop()
		return nil, nil
	}))
	return mux
}

// handleHistory serves what is kept of the branches' histories.
func handleHistory(mux *http.ServeMux, s *Supervisor) {
	mux.Handle("POST /v1/collect", answer(func(r *http.Request) (any, error) {
		var request collectRequest
		if err := decode(r, &request); err != nil {
			return nil, err
		}
		return s.Collect(context.WithoutCancel(r.Context()), request.Branch, request.Below, request.DryRun)
	}))
	mux.Handle("GET /v1/leases", answer(func(r *http.Request) (any, error) {
		return s.Leases(r.Context(), r.URL.Query().Get("branch"))
	}))
	mux.Handle("POST /v1/leases", answer(func(r *http.Request) (any, error) {
		var request createLeaseRequest
		if err := decode(r, &request); err != nil {
			return nil, err
		}
		return s.CreateLease(context.WithoutCancel(r.Context()), request.Point, request.For)
	}))
	mux.Handle("DELETE /v1/leases/{id}", answer(func(r *http.Request) (any, error) {
		return s.DeleteLease(context.WithoutCancel(r.Context()), r.PathValue("id"))
	}))
}

// startEndpoint tells each step of a start as it comes, since one may wait for long, as
// long as copying the database takes. It ends with its client, and so does a reader, whose
// answer ends no sooner.
func startEndpoint(s *Supervisor, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	// A client that has gone away is the only reason for a failure here.
	tell := func(e startEvent) {
		_ = lines.Encode(e)
		_ = http.NewResponseController(w).Flush()
	}
	var request startEndpointRequest
	err := decode(r, &request)
	var status EndpointStatus
	if err == nil {
		status, err = s.StartEndpoint(r.Context(), request.Point, request.Port, func(step string) { tell(startEvent{Step: step}) })
	}
	if err == nil && r.Context().Err() != nil {
		// Nobody knows that it runs.
		status, err = s.StopEndpoint(context.WithoutCancel(r.Context()), status.ID)
	}
	if err != nil {
		tell(startEvent{Failed: &Error{Code: CodeOf(err), Message: err.Error()}})
		return
	}
	tell(startEvent{Endpoint: &status})
	if isReader(status.ID) {
		s.keepReader(r.Context(), status.ID)
	}
}

var httpStatus = map[Code]int{
	CodeFailed:   http.StatusInternalServerError,
	CodeUsage:    http.StatusBadRequest,
	CodeNotFound: http.StatusNotFound,
	CodeConflict: http.StatusConflict,
	CodeTimeout:  http.StatusGatewayTimeout,
}

func answer(serve func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value, err := serve(r)
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			if r.Method != http.MethodGet { // whose client may have gone, while it went on
				slog.Warn("request failed", "request", r.Method+" "+r.URL.Path, "error", err)
			}
			code := CodeOf(err)
			w.WriteHeader(httpStatus[code])
			value = &Error{Code: code, Message: err.Error()}
		}
		// A client that has gone away is the only reason for a failure here.
		_ = json.NewEncoder(w).Encode(value)
	})
}

// bodyMax bounds a request: names and paths.
const bodyMax = 64 << 10

func decode(r *http.Request, request any) error {
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, bodyMax))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(request); err != nil {
		return Errorf(CodeUsage, "read request: %v", err)
	}
	return nil
}
