package scene

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// DB opens an empty database through a pool of at most conns connections, and runs
// the statements in it. It is gone when the run has ended. It is SQLite in a
// temporary file, or a schema of its own on the PostgreSQL server of the Options.
func (s *Stage) DB(conns int, statements ...string) (*sql.DB, error) {
	open := s.sqlite
	if s.options.Postgres != "" {
		open = s.postgres
	}
	db, err := open()
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	for _, statement := range statements {
		if _, err := db.ExecContext(s.ctx, statement); err != nil {
			return nil, fmt.Errorf("%s: %w", statement, err)
		}
	}
	return db, nil
}

func (s *Stage) sqlite() (*sql.DB, error) {
	dir, err := os.MkdirTemp("", "antipatterns")
	if err != nil {
		return nil, err
	}
	s.onClose(func() error { return os.RemoveAll(dir) })
	settings := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(OFF)", "busy_timeout(5000)"}}
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(dir, "scene.db"))+"?"+settings.Encode())
	if err != nil {
		return nil, err
	}
	s.onClose(db.Close)
	return db, nil
}

func (s *Stage) postgres() (*sql.DB, error) {
	config, err := pgx.ParseConfig(s.options.Postgres)
	if err != nil {
		return nil, err
	}
	schema := fmt.Sprintf("antipatterns_%08x", rand.Uint32())
	config.RuntimeParams["search_path"] = schema
	db := stdlib.OpenDB(*config)
	s.onClose(db.Close)
	if _, err := db.ExecContext(s.ctx, "CREATE SCHEMA "+schema); err != nil {
		return nil, err
	}
	s.onClose(func() error {
		_, err := db.ExecContext(context.WithoutCancel(s.ctx), "DROP SCHEMA "+schema+" CASCADE")
		return err
	})
	return db, nil
}
