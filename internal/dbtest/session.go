package dbtest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Session is one of an app.
type Session interface {
	// Exec runs a statement.
	Exec(ctx context.Context, sql string) error
	// Value runs a statement that gives one row with one column.
	Value(ctx context.Context, sql string) (string, error)
	// Transaction is one of [Work].
	Transaction(ctx context.Context, where string, worker, n int) (at string, err error)
	// Close ends the session in good order.
	Close() error
}

// ConnectPostgres opens a session by pgx.
func ConnectPostgres(ctx context.Context, dsn string) (Session, error) {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	return pgxSession{conn}, nil
}

type pgxSession struct{ conn *pgx.Conn }

func (s pgxSession) Exec(ctx context.Context, sql string) error {
	_, err := s.conn.Exec(ctx, sql)
	return err
}

func (s pgxSession) Value(ctx context.Context, sql string) (v string, err error) {
	err = s.conn.QueryRow(ctx, sql, pgx.QueryResultFormats{pgx.TextFormatCode}).Scan(&v)
	return v, err
}

func (s pgxSession) Transaction(ctx context.Context, where string, worker, n int) (string, error) {
	return PostgresTransaction(ctx, s.conn, where, worker, n, false)
}

func (s pgxSession) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return s.conn.Close(ctx)
}

// ConnectMySQL opens a session by go-sql-driver.
func ConnectMySQL(ctx context.Context, dsn string) (Session, error) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return sqlSession{db, conn}, nil
}

type sqlSession struct {
	db   *sql.DB // has no other session
	conn *sql.Conn
}

func (s sqlSession) Exec(ctx context.Context, sql string) error {
	_, err := s.conn.ExecContext(ctx, sql)
	return err
}

func (s sqlSession) Value(ctx context.Context, sql string) (v string, err error) {
	err = s.conn.QueryRowContext(ctx, sql).Scan(&v)
	return v, err
}

func (s sqlSession) Transaction(ctx context.Context, where string, worker, n int) (string, error) {
	return mysqlTransaction(ctx, s.conn, where, worker, n)
}

func (s sqlSession) Close() error {
	if err := s.conn.Close(); err != nil {
		return err
	}
	return s.db.Close()
}

// Code is the SQLSTATE of an error of PostgreSQL, the number of one of MySQL's, and the text of all others.
func Code(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return strconv.Itoa(int(e.Number))
	}
	return fmt.Sprint(err)
}
