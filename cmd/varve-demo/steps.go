package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	scale   = 5 // of pgbench: 500,000 accounts
	clients = 4
)

type step struct {
	title string
	do    func(ctx context.Context) error
}

type demo struct {
	varve   varve
	started time.Time

	url      string // of main's endpoint
	ackPath  string
	loads    int    // loads started so far
	noted    string // the LSN noted before the damage
	notedAt  time.Time
	accounts int64 // rows of pgbench_accounts then
}

func (d *demo) steps() []step {
	return []step{
		{"start everything: 3 safekeepers, a pageserver, PostgreSQL 15 as Debian built it", d.up},
		{"load data: pgbench -i -s 5", d.initialise},
		{"run TPC-B; every acknowledged transaction is noted in a file outside the storage", d.warmUp},
		{"note LSN and time, branch there, then damage main", d.branchAndDamage},
		{"the branch and main@LSN and main@TIME still have every row, main has not", d.compare},
		{"kill -9 a safekeeper under load: the load goes on", d.killSafekeeper},
		{"kill -9 PostgreSQL in mid-load, and start a new one from storage", d.killPostgres},
		{"wipe the pageserver's local directory: everything comes back", d.wipePageserver},
		{"pg_amcheck --heapallindexed on main and on the branch", d.amcheck},
		{"stop main cleanly and compare every page of its directory with storage", d.verify},
		{"stop everything", d.down},
	}
}

func say(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

func (d *demo) up(ctx context.Context) (err error) {
	d.ackPath = d.varve.dir + ".acks"
	if err := os.Remove(d.ackPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if d.url, err = d.varve.run(ctx, "up"); err != nil {
		return err
	}
	say("%s", d.url)
	return d.onMain(ctx, func(conn *pgx.Conn) error {
		for _, name := range []string{"full_page_writes", "wal_consistency_checking", "wal_compression"} {
			var value string
			if err := conn.QueryRow(ctx, "SELECT current_setting($1)", name).Scan(&value); err != nil {
				return err
			}
			say("SHOW %s: '%s'", name, value)
		}
		return nil
	})
}

func (d *demo) initialise(ctx context.Context) error {
	if err := program(ctx, "pgbench", "-i", "-q", "-s", fmt.Sprint(scale), d.url); err != nil {
		return err
	}
	return d.onMain(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "CREATE EXTENSION amcheck; CREATE TABLE demo_acks (client int, n bigint, PRIMARY KEY (client, n))")
		return err
	})
}

func (d *demo) warmUp(ctx context.Context) error {
	l, err := d.startLoad(ctx)
	if err != nil {
		return err
	}
	if err := l.waitFor(ctx, 2000); err != nil {
		return err
	}
	if err := l.stop(); err != nil {
		return err
	}
	return d.checkMain(ctx)
}

func (d *demo) branchAndDamage(ctx context.Context) (err error) {
	err = d.onMain(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT count(*) FROM pgbench_accounts").Scan(&d.accounts)
	})
	if err != nil {
		return err
	}
	if d.noted, err = d.varve.run(ctx, "lsn", "main"); err != nil {
		return err
	}
	d.notedAt = time.Now()
	say("main has %d accounts at %s, %s", d.accounts, d.noted, d.notedAt.Format(time.RFC3339Nano))
	if _, err := d.varve.run(ctx, "branch", "create", "before", "--parent", "main@"+d.noted); err != nil {
		return err
	}
	return d.onMain(ctx, func(conn *pgx.Conn) error {
		say("main: DELETE of all accounts with an odd number, DROP TABLE pgbench_history")
		_, err := conn.Exec(ctx, "DELETE FROM pgbench_accounts WHERE aid % 2 = 1; DROP TABLE pgbench_history")
		return err
	})
}

func (d *demo) compare(ctx context.Context) error {
	url, err := d.varve.run(ctx, "endpoint", "start", "before")
	if err != nil {
		return err
	}
	err = onDatabase(ctx, url, func(conn *pgx.Conn) error {
		sum, err := checkSums(ctx, conn)
		say("branch before: the sums of TPC-B agree (%d)", sum)
		return err
	})
	if err != nil {
		return err
	}
	const count = "SELECT count(*) FROM pgbench_accounts"
	points := map[string]int64{"main": d.accounts / 2, "before": d.accounts, "main@" + d.noted: d.accounts, "main@" + d.notedAt.Format(time.RFC3339Nano): d.accounts}
	for _, point := range []string{"main", "before", "main@" + d.noted, "main@" + d.notedAt.Format(time.RFC3339Nano)} {
		out, err := d.varve.run(ctx, "psql", point, "--", "-At", "-c", count)
		if err != nil {
			return err
		}
		say("%s accounts", out)
		if out != fmt.Sprint(points[point]) {
			return fmt.Errorf("%s: want %d accounts, got %s", point, points[point], out)
		}
	}
	// What follows needs TPC-B's tables whole again.
	say("main: restoring the damaged tables from nothing: pgbench -i")
	return program(ctx, "pgbench", "-i", "-q", "-s", fmt.Sprint(scale), d.url)
}

func (d *demo) killSafekeeper(ctx context.Context) error {
	l, err := d.startLoad(ctx)
	if err != nil {
		return err
	}
	if err := l.waitFor(ctx, 500); err != nil {
		return err
	}
	p, err := d.varve.process(ctx, "safekeeper-2")
	if err != nil {
		return err
	}
	if err := kill(p.Name, p.PID); err != nil {
		return err
	}
	if err := l.waitFor(ctx, 1000); err != nil {
		return err
	}
	say("1000 more transactions were acknowledged since")
	if err := l.stop(); err != nil {
		return err
	}
	return d.checkMain(ctx)
}

func (d *demo) killPostgres(ctx context.Context) error {
	e, err := d.varve.endpoint(ctx, "main")
	if err != nil {
		return err
	}
	l, err := d.startLoad(ctx)
	if err != nil {
		return err
	}
	if err := l.waitFor(ctx, 500); err != nil {
		return err
	}
	before, err := inode(e.DataDir)
	if err != nil {
		return err
	}
	if err := kill("PostgreSQL of main", e.PID); err != nil {
		return err
	}
	say("the load ended: %s", firstLine(l.ended()))
	if d.url, err = d.varve.run(ctx, "endpoint", "start", "main"); err != nil {
		return err
	}
	if e, err = d.varve.endpoint(ctx, "main"); err != nil {
		return err
	}
	after, err := inode(e.DataDir)
	if err != nil {
		return err
	}
	say("data directory: inode %d then, %d now: built anew from storage at %s, in term %d", before, after, e.Start, e.Term)
	return d.checkMain(ctx)
}

func (d *demo) wipePageserver(ctx context.Context) error {
	p, err := d.varve.process(ctx, "pageserver")
	if err != nil {
		return err
	}
	local := filepath.Join(d.varve.dir, "pageserver")
	if err := kill(p.Name, p.PID); err != nil {
		return err
	}
	if err := os.RemoveAll(local); err != nil {
		return err
	}
	say("removed %s", local)
	if d.url, err = d.restartMain(ctx); err != nil {
		return err
	}
	return d.checkMain(ctx)
}

// restartMain throws main's Postgres away and builds another from storage.
func (d *demo) restartMain(ctx context.Context) (url string, err error) {
	if _, err := d.varve.run(ctx, "endpoint", "stop", "main"); err != nil {
		return "", err
	}
	return d.varve.run(ctx, "endpoint", "start", "main")
}

func (d *demo) amcheck(ctx context.Context) error {
	for _, branch := range []string{"main", "before"} {
		url, err := d.varve.run(ctx, "connection-string", branch)
		if err != nil {
			return err
		}
		config, err := pgx.ParseConfig(url)
		if err != nil {
			return err
		}
		// pg_amcheck takes no URL.
		if err := program(ctx, "pg_amcheck", "-h", config.Host, "-p", fmt.Sprint(config.Port), "-U", config.User,
			"--heapallindexed", "--install-missing", config.Database); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) verify(ctx context.Context) error {
	dir, err := d.varve.run(ctx, "endpoint", "stop", "main")
	if err != nil {
		return err
	}
	report, err := d.varve.run(ctx, "verify", "main", "--against", dir)
	for line := range strings.Lines(report) {
		fmt.Print("    ", line)
	}
	fmt.Println()
	return err
}

func (d *demo) down(ctx context.Context) error {
	_, err := d.varve.run(ctx, "down")
	return errors.Join(err, os.Remove(d.ackPath))
}

func (d *demo) startLoad(ctx context.Context) (*load, error) {
	d.loads++
	return startLoad(ctx, d.url, scale, d.loads*100, clients, d.ackPath)
}

// checkMain holds main against the acknowledgements and TPC-B's invariant.
func (d *demo) checkMain(ctx context.Context) error {
	return d.onMain(ctx, func(conn *pgx.Conn) error {
		acked, unknown, err := checkAcks(ctx, conn, d.ackPath)
		if err != nil {
			return err
		}
		sum, err := checkSums(ctx, conn)
		if err != nil {
			return err
		}
		say("all %d acknowledged transactions are there, %d of unknown outcome too; the sums agree (%d)", acked, unknown, sum)
		return nil
	})
}

func (d *demo) onMain(ctx context.Context, do func(conn *pgx.Conn) error) error {
	return onDatabase(ctx, d.url, do)
}

func onDatabase(ctx context.Context, url string, do func(conn *pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}

func kill(name string, pid int) error {
	say("kill -9 %d (%s)", pid, name)
	return syscall.Kill(pid, syscall.SIGKILL)
}

func inode(dir string) (uint64, error) {
	var stat syscall.Stat_t
	if err := syscall.Stat(dir, &stat); err != nil {
		return 0, fmt.Errorf("look at %s: %w", dir, err)
	}
	return stat.Ino, nil
}

func firstLine(err error) string {
	if err == nil {
		return "without an error"
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
