package stability_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
)

// productsDB is a database with one table of one row, whose id is 0, behind the
// interface of database/sql. The module examples guards a real one.
type productsDB struct{}

func (db productsDB) Connect(context.Context) (driver.Conn, error) { return productsConn{}, nil }
func (db productsDB) Driver() driver.Driver                        { return nil }

type productsConn struct{}

var errReadOnly = errors.New("products: only queries")

func (productsConn) Prepare(string) (driver.Stmt, error) { return nil, errReadOnly }
func (productsConn) Begin() (driver.Tx, error)           { return nil, errReadOnly }
func (productsConn) Close() error                        { return nil }

func (productsConn) QueryContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
	return &productRows{left: args[0].Value == int64(0)}, nil
}

func (productsConn) ExecContext(context.Context, string, []driver.NamedValue) (driver.Result, error) {
	return nil, duplicateKey{}
}

// duplicateKey is the error of a database that works.
type duplicateKey struct{}

func (duplicateKey) Error() string    { return "products: duplicate key" }
func (duplicateKey) SQLState() string { return "23505" }

type productRows struct{ left bool }

func (*productRows) Columns() []string { return []string{"name"} }
func (*productRows) Close() error      { return nil }

func (r *productRows) Next(to []driver.Value) error {
	if !r.left {
		return io.EOF
	}
	r.left, to[0] = false, "umbrella"
	return nil
}
