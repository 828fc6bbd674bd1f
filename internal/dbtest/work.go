package dbtest

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Work is done by an app that commits transactions: each writes two rows into the table log (worker int, n int, part int), and asks where it is.
type Work struct {
	Worker int
	Where  string          // gives one row with one column
	More   func() bool     // is asked before each transaction
	Done   func(at string) // of each transaction that was committed
}

// WorkPostgres works by pgx. A session that is told 57P01 is followed by another; any other error is returned. Every second worker's
// transactions are pipelined.
func WorkPostgres(ctx context.Context, dsn string, w *Work) error {
	for n := 0; w.More(); {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			return fmt.Errorf("connecting: %w", err)
		}
		for err == nil && w.More() {
			n++
			var at string
			if at, err = PostgresTransaction(ctx, conn, w.Where, w.Worker, n, w.Worker%2 == 1); err == nil {
				w.Done(at)
			}
		}
		_ = conn.Close(ctx)
		if err != nil && Code(err) != "57P01" {
			return err
		}
	}
	return nil
}

// PostgresTransaction is one of [Work]. A pipelined one sends its statements without waiting for answers.
func PostgresTransaction(ctx context.Context, conn *pgx.Conn, where string, worker, n int, pipelined bool) (at string, err error) {
	if pipelined {
		b := &pgx.Batch{}
		b.Queue("begin")
		b.Queue("insert into log values ($1, $2, 1)", worker, n)
		b.Queue("insert into log values ($1, $2, 2)", worker, n)
		b.Queue(where).QueryRow(func(row pgx.Row) error { return row.Scan(&at) })
		b.Queue("commit")
		err := conn.SendBatch(ctx, b).Close()
		return at, err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for part := range 2 {
			if _, err := tx.Exec(ctx, "insert into log values ($1, $2, $3)", worker, n, part); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, where).Scan(&at)
	})
	return at, err
}

// WorkMySQL works by a pool of go-sql-driver's. To be told 1053 is no fault; any other error is returned.
func WorkMySQL(ctx context.Context, dsn string, w *Work) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	for n := 1; w.More(); n++ {
		at, err := mysqlTransaction(ctx, db, w.Where, w.Worker, n)
		if err == nil {
			w.Done(at)
		} else if Code(err) != "1053" {
			return err
		}
	}
	return nil
}

// beginner is a pool or a session.
type beginner interface {
	BeginTx(ctx context.Context, o *sql.TxOptions) (*sql.Tx, error)
}

// mysqlTransaction is one of [Work].
func mysqlTransaction(ctx context.Context, b beginner, where string, worker, n int) (at string, err error) {
	tx, err := b.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback() }()
	for part := range 2 {
		if _, err := tx.ExecContext(ctx, "insert into log values (?, ?, ?)", worker, n, part); err != nil {
			return "", err
		}
	}
	if err := tx.QueryRowContext(ctx, where).Scan(&at); err != nil {
		return "", err
	}
	return at, tx.Commit()
}
