// Package s3test starts a real S3 server, versitygw, for tests.
package s3test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/stretchr/testify/require"
)

const (
	bucketName = "varve"
	accessKey  = "varve"
	secretKey  = "not-a-secret"
	region     = "us-east-1"
)

// Server is a running S3 server with one empty bucket.
type Server struct {
	addr string
	stop func()
}

// Stop ends the server before the test does. From then on its port refuses connections.
func (s *Server) Stop() { s.stop() }

// Location returns the location of a prefix of the server's bucket.
func (s *Server) Location(prefix string) string {
	return fmt.Sprintf("s3://%s/%s?endpoint=http://%s&region=%s", bucketName, prefix, s.addr, region)
}

// Start starts a server that ends with the test, and puts its credentials into the test's
// environment. It skips the test if the server is not built, and fails it if CI is set.
func Start(t testing.TB) *Server {
	t.Helper()
	program := program(t)
	t.Setenv("AWS_ACCESS_KEY_ID", accessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secretKey)

	dir, err := os.MkdirTemp("", "s3-") // short: a socket's path has at most 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "socket")
	require.NoError(t, os.Mkdir(data, 0o700))
	output, err := os.Create(filepath.Join(dir, "output"))
	require.NoError(t, err)
	defer output.Close()

	cmd := exec.Command(program, "--port", socket, "--quiet", "posix", data)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY_ID="+accessKey, "ROOT_SECRET_ACCESS_KEY="+secretKey)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); close(ended) }()
	kill := sync.OnceFunc(func() {
		cmd.Process.Kill()
		<-ended
	})
	t.Cleanup(kill)
	awaitSocket(t, socket, ended, output.Name())

	listener := relay(t, socket)
	s := &Server{addr: listener.Addr().String(), stop: func() { listener.Close(); kill() }}
	client, err := minio.New(s.addr, &minio.Options{Creds: credentials.NewStaticV4(accessKey, secretKey, ""), Region: region})
	require.NoError(t, err)
	require.NoError(t, client.MakeBucket(t.Context(), bucketName, minio.MakeBucketOptions{Region: region}))
	return s
}

// program returns the path of the server's program: what `make bin/versitygw` builds.
func program(t testing.TB) string {
	_, here, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(here), "../../../../bin/versitygw")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("the S3 server is not built: run `make bin/versitygw`: %v", err)
		}
		t.Skipf("NOT TESTED AGAINST S3: the server is not built: run `make bin/versitygw`")
	}
	return path
}

// awaitSocket returns once the server accepts connections.
func awaitSocket(t testing.TB, socket string, ended <-chan error, output string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(output)
			t.Fatalf("the S3 server ended at once: %v\n%s", err, text)
		case <-ctx.Done():
			t.Fatalf("the S3 server does not answer: %v", err)
		case <-tick.C:
		}
	}
}

// relay listens on a port of the loopback that the kernel chooses, which the server
// cannot tell us when it chooses itself, and connects whoever comes with socket.
func relay(t testing.TB, socket string) net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				client.Close()
				continue
			}
			go func() { io.Copy(server, client); server.(*net.UnixConn).CloseWrite() }()
			go func() { io.Copy(client, server); client.Close() }()
		}
	}()
	return listener
}
