package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"
)

// SocketPath is where the supervisor of a directory listens.
func SocketPath(dir string) string { return filepath.Join(dir, "run", "control.sock") }

// Client asks the supervisor of one directory.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient makes a client; nothing is dialled before the first request.
func NewClient(dir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", SocketPath(dir))
	}
	return &Client{dir: dir, http: &http.Client{Transport: &http.Transport{DialContext: dial}}}
}

// Status returns what runs and what is stored.
func (c *Client) Status(ctx context.Context) (status Status, err error) {
	return status, c.do(ctx, http.MethodGet, "/v1/status", nil, &status)
}

// Branches lists the branches by name.
func (c *Client) Branches(ctx context.Context) (branches []Branch, err error) {
	return branches, c.do(ctx, http.MethodGet, "/v1/branches", nil, &branches)
}

// CreateBranch makes a branch of a point.
func (c *Client) CreateBranch(ctx context.Context, name, parent string) (branch Branch, err error) {
	return branch, c.do(ctx, http.MethodPost, "/v1/branches", createBranchRequest{Name: name, Parent: parent}, &branch)
}

// DeleteBranch removes a branch that has no children, no running endpoint and no readers.
func (c *Client) DeleteBranch(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/v1/branches/"+url.PathEscape(name), nil, nil)
}

// DetachBranch makes a branch independent of its parent.
func (c *Client) DetachBranch(ctx context.Context, name string) (branch Branch, err error) {
	return branch, c.do(ctx, http.MethodPost, "/v1/branches/"+url.PathEscape(name)+"/detach", nil, &branch)
}

// ResetBranch makes a branch equal to its parent again, as of a moment of that.
func (c *Client) ResetBranch(ctx context.Context, name, moment string) (branch Branch, err error) {
	return branch, c.do(ctx, http.MethodPost, "/v1/branches/"+url.PathEscape(name)+"/reset", resetBranchRequest{moment}, &branch)
}

// Stats returns what the pageserver has counted, in all and of a branch, or of each.
func (c *Client) Stats(ctx context.Context, branch string) (stats StorageStats, err error) {
	return stats, c.do(ctx, http.MethodGet, "/v1/stats?branch="+url.QueryEscape(branch), nil, &stats)
}

// Collect drops a branch's history below a moment, or below what its window keeps.
func (c *Client) Collect(ctx context.Context, branch, below string, dryRun bool) (done Collected, err error) {
	return done, c.do(ctx, http.MethodPost, "/v1/collect", collectRequest{branch, below, dryRun}, &done)
}

// CreateLease keeps a point readable for a while.
func (c *Client) CreateLease(ctx context.Context, point string, lasts time.Duration) (lease Lease, err error) {
	return lease, c.do(ctx, http.MethodPost, "/v1/leases", createLeaseRequest{point, lasts}, &lease)
}

// Leases lists the leases of a branch, or of all.
func (c *Client) Leases(ctx context.Context, branch string) (leases []Lease, err error) {
	return leases, c.do(ctx, http.MethodGet, "/v1/leases?branch="+url.QueryEscape(branch), nil, &leases)
}

// DeleteLease ends a lease.
func (c *Client) DeleteLease(ctx context.Context, id string) (lease Lease, err error) {
	return lease, c.do(ctx, http.MethodDelete, "/v1/leases/"+url.PathEscape(id), nil, &lease)
}

// StartEndpoint starts a branch's read-write Postgres. Port 0 is the one it had last, or
// any free one. It calls tell with each step that the start comes to.
func (c *Client) StartEndpoint(ctx context.Context, branch string, port int, tell func(step string)) (EndpointStatus, error) {
	endpoint, body, err := c.start(ctx, startEndpointRequest{Point: branch, Port: port}, tell)
	if err == nil {
		_ = body.Close() // all is read that is of interest
	}
	return endpoint, err
}

// StartReader starts a Postgres that reads a branch at a moment. ctx bounds the start. The
// reader lives no longer than this process, and until release is called, which ends the
// connection that tells the supervisor so; [Client.StopEndpoint] before that waits for
// its end.
func (c *Client) StartReader(ctx context.Context, point string) (reader EndpointStatus, release func(), err error) {
	living, release := context.WithCancel(context.WithoutCancel(ctx))
	unlink := context.AfterFunc(ctx, release)
	reader, _, err = c.start(living, startEndpointRequest{Point: point}, func(string) {})
	if err == nil && !unlink() {
		err = context.Cause(ctx)
	}
	if err != nil {
		release()
		return EndpointStatus{}, nil, err
	}
	return reader, release, nil
}

// start returns what has started, and the rest of the answer, which the caller closes.
func (c *Client) start(ctx context.Context, request startEndpointRequest, tell func(step string)) (EndpointStatus, io.Closer, error) {
	const method, path = http.MethodPost, "/v1/endpoints"
	resp, err := c.send(ctx, method, path, request)
	if err != nil {
		return EndpointStatus{}, nil, err
	}
	for lines := json.NewDecoder(resp.Body); ; {
		var e startEvent
		err := lines.Decode(&e)
		switch {
		case err != nil:
			err = fmt.Errorf("read the supervisor's answer to %s %s: %w", method, path, err)
		case e.Failed != nil:
			err = e.Failed
		case e.Endpoint != nil:
			return *e.Endpoint, resp.Body, nil
		}
		if err != nil {
			_ = resp.Body.Close() // there is a better error
			return EndpointStatus{}, nil, err
		}
		tell(e.Step)
	}
}

// StopEndpoint stops an endpoint cleanly and returns its last state.
func (c *Client) StopEndpoint(ctx context.Context, id string) (endpoint EndpointStatus, err error) {
	return endpoint, c.do(ctx, http.MethodDelete, "/v1/endpoints/"+url.PathEscape(id), nil, &endpoint)
}

// Resolve finds the timeline and LSN that a point names.
func (c *Client) Resolve(ctx context.Context, point string) (resolved Resolved, err error) {
	return resolved, c.do(ctx, http.MethodGet, "/v1/resolve?point="+url.QueryEscape(point), nil, &resolved)
}

// Explain says what keeps the bytes of a branch in the bucket.
func (c *Client) Explain(ctx context.Context, branch string) (e Explanation, err error) {
	return e, c.do(ctx, http.MethodGet, "/v1/explain?branch="+url.QueryEscape(branch), nil, &e)
}

// Scrub reads every object of the project, or those that a branch lives from, from the
// bucket and checks it.
func (c *Client) Scrub(ctx context.Context, branch string) (report ScrubReport, err error) {
	return report, c.do(ctx, http.MethodGet, "/v1/scrub?branch="+url.QueryEscape(branch), nil, &report)
}

// Import makes a root branch of a cleanly stopped data directory.
func (c *Client) Import(ctx context.Context, dir, branch string) (imported Branch, err error) {
	return imported, c.do(ctx, http.MethodPost, "/v1/import", importRequest{Dir: dir, Branch: branch}, &imported)
}

// Shutdown stops everything; it returns once the supervisor and its children have ended.
func (c *Client) Shutdown(ctx context.Context) error {
	if err := c.do(ctx, http.MethodPost, "/v1/shutdown", nil, nil); err != nil {
		return err
	}
	// The supervisor has still to end itself.
	ctx, cancel := context.WithTimeout(ctx, leftoverWait)
	defer cancel()
	hold, err := holdDir(ctx, c.dir, func() {})
	if err != nil {
		return err
	}
	return hold.Close()
}

// send sends a request and returns the response, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, request any) (*http.Response, error) {
	var body io.Reader
	if request != nil {
		encoded, err := json.Marshal(request)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://varve"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return resp, nil
}

func (c *Client) do(ctx context.Context, method, path string, request, response any) error {
	resp, err := c.send(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		failure := &Error{}
		if err := json.NewDecoder(resp.Body).Decode(failure); err != nil || failure.Message == "" {
			return fmt.Errorf("%s %s: the supervisor answered %s", method, path, resp.Status)
		}
		return failure
	}
	if response == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(response); err != nil {
		return fmt.Errorf("read the supervisor's answer to %s %s: %w", method, path, err)
	}
	return nil
}

func (c *Client) unreachable(err error) error {
	var dial *net.OpError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return Errorf(CodeFailed, "you may not talk to the varve in %s: run this as the user that runs it, or as root", c.dir)
	case errors.As(err, &dial) && dial.Op == "dial":
		return Errorf(CodeNotFound, "no varve runs in %s: start it with `varve up --dir %s`", c.dir, shellWord(c.dir))
	}
	return fmt.Errorf("ask the supervisor: %w", err)
}
