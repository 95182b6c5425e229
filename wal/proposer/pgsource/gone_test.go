package pgsource

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// serverThat gives what a source receives from a server that does as it is told.
func serverThat(t *testing.T, acts func(server net.Conn)) error {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer listener.Close()
	client, err := net.Dial("unix", listener.Addr().String())
	require.NoError(t, err)
	server, err := listener.Accept()
	require.NoError(t, err)
	s := &Source{conn: &pgconn.HijackedConn{Conn: client, Frontend: pgproto3.NewFrontend(client, client)}}
	defer s.Close()
	_, err = client.Write([]byte("a status"))
	require.NoError(t, err)
	acts(server)
	require.NoError(t, server.Close())
	return s.receive(t.Context(), nil)
}

// TestServerThatGoesAwayHasOneName: however the kernel or the server tells it.
func TestServerThatGoesAwayHasOneName(t *testing.T) {
	read := func(server net.Conn) {
		_, err := server.Read(make([]byte, len("a status")))
		require.NoError(t, err)
	}
	write := func(server net.Conn, p []byte) {
		_, err := server.Write(p)
		require.NoError(t, err)
	}
	says := func(code string) []byte {
		p, err := (&pgproto3.ErrorResponse{Severity: "FATAL", Code: code, Message: "said"}).Encode(nil)
		require.NoError(t, err)
		return p
	}
	require.ErrorIs(t, serverThat(t, read), ErrServerGone, "the end of the stream")
	require.ErrorIs(t, serverThat(t, func(net.Conn) {}), ErrServerGone, "a reset: what was sent was not read")
	require.ErrorIs(t, serverThat(t, func(server net.Conn) { read(server); write(server, []byte{logDataTag, 0, 0}) }), ErrServerGone, "an end within a message")
	require.ErrorIs(t, serverThat(t, func(server net.Conn) { write(server, says(adminShutdown)) }), ErrServerGone)
	require.ErrorIs(t, serverThat(t, func(server net.Conn) { write(server, says(crashShutdown)) }), ErrServerGone)

	err := serverThat(t, func(server net.Conn) { write(server, says("58P01")) })
	require.NotErrorIs(t, err, ErrServerGone, "a complaint is no end of the server")
	require.ErrorContains(t, err, "said")
}
