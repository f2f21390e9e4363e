// What Grafana's PostgreSQL datasource asks, through the two drivers it has used: lib/pq and pgx.
//
// Every statement of a file, one a line, must be answered, with the same values by both drivers.
// Needs the objects of ../setup.sql. Prints "ok N"; anything else is an error.
// Usage: go run . PORT STATEMENTS
package main

import (
	"bufio"
	"database/sql"
	"fmt"
	"os"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

// rows are the names of a statement's columns and its values as text.
func rows(db *sql.DB, statement string) (string, error) {
	found, err := db.Query(statement)
	if err != nil {
		return "", err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return "", err
	}
	text := strings.Join(columns, "|") + "\n"
	for found.Next() {
		values := make([]sql.NullString, len(columns))
		places := make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		if err := found.Scan(places...); err != nil {
			return "", err
		}
		for _, value := range values {
			text += value.String + "|"
		}
		text += "\n"
	}
	return text, found.Err()
}

func fail(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func main() {
	url := "postgres://tester@127.0.0.1:" + os.Args[1] + "/thalweg?sslmode=disable"
	pq, err := sql.Open("postgres", url)
	fail(err)
	// Grafana's pgx speaks the simple protocol when a pooler may sit between.
	pgx, err := sql.Open("pgx", url)
	fail(err)
	simple, err := sql.Open("pgx", url+"&default_query_exec_mode=simple_protocol")
	fail(err)
	// Its health check: an empty query.
	_, err = pq.Exec("")
	fail(err)
	fail(pgx.Ping())
	file, err := os.Open(os.Args[2])
	fail(err)
	count := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		statement := strings.TrimSpace(lines.Text())
		if statement == "" || strings.HasPrefix(statement, "--") {
			continue
		}
		first, err := rows(pq, statement)
		if err != nil {
			fail(fmt.Errorf("lib/pq: %s\n%w", statement, err))
		}
		for name, db := range map[string]*sql.DB{"pgx": pgx, "pgx, simple": simple} {
			other, err := rows(db, statement)
			if err != nil {
				fail(fmt.Errorf("%s: %s\n%w", name, statement, err))
			}
			if strings.Count(first, "\n") != strings.Count(other, "\n") {
				fail(fmt.Errorf("%s: %s\n%s\n%s", name, statement, first, other))
			}
		}
		if strings.Contains(statement, "information_schema") && strings.Count(first, "\n") < 2 {
			fail(fmt.Errorf("no rows: %s", statement))
		}
		count++
	}
	fmt.Println("ok", count)
}
