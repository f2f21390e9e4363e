// lib/pq against Thalweg: every query of a file in text form and with binary parameters, where
// results come in binary too as far as the driver asks for it. Prints one line a query and, at the
// end, "ok N". Usage: client PORT QUERIES
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/lib/pq"
)

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("usage: client PORT QUERIES"))
	}
	file, err := os.ReadFile(os.Args[2])
	fail(err)
	var queries []string
	for _, line := range strings.Split(string(file), "\n") {
		if line = strings.TrimSuffix(strings.TrimSpace(line), ";"); line != "" {
			queries = append(queries, line)
		}
	}
	url := "host=127.0.0.1 port=" + os.Args[1] + " user=tester dbname=thalweg sslmode=disable"
	text := open(url)
	binary := open(url + " binary_parameters=yes")
	for _, query := range queries {
		expected := rows(text, query)
		got := rows(binary, query)
		prepared, err := text.Prepare(query)
		fail(err)
		again, err := prepared.Query()
		fail(err)
		if !reflect.DeepEqual(expected, got) || !reflect.DeepEqual(expected, scan(again)) {
			fail(fmt.Errorf("%s\nexpected %v\ngot      %v", query, expected, got))
		}
		fail(prepared.Close())
		fmt.Printf("%d rows: %.60s\n", len(expected), query)
	}
	for _, db := range []*sql.DB{text, binary} {
		var events int64
		fail(db.QueryRow("SELECT events FROM event_type_counts WHERE event_type = $1", "view").Scan(&events))
		if events <= 0 {
			fail(errors.New("no events for a parameter"))
		}
		_, err := db.Query("SELECT * FROM no_such_table")
		var refused *pq.Error
		if !errors.As(err, &refused) || refused.Code != "42P01" {
			fail(fmt.Errorf("expected 42P01, got %v", err))
		}
	}
	fmt.Printf("ok %d\n", len(queries))
}

func open(url string) *sql.DB {
	db, err := sql.Open("postgres", url)
	fail(err)
	fail(db.Ping())
	return db
}

func rows(db *sql.DB, query string) [][]string {
	result, err := db.Query(query)
	if err != nil {
		fail(fmt.Errorf("%s: %w", query, err))
	}
	return scan(result)
}

func scan(result *sql.Rows) [][]string {
	defer result.Close()
	columns, err := result.Columns()
	fail(err)
	var all [][]string
	for result.Next() {
		values := make([]any, len(columns))
		places := make([]any, len(columns))
		for i := range values {
			places[i] = &values[i]
		}
		fail(result.Scan(places...))
		row := make([]string, len(columns))
		for i, value := range values {
			row[i] = show(value)
		}
		all = append(all, row)
	}
	fail(result.Err())
	return all
}

func show(value any) string {
	switch value := value.(type) {
	case nil:
		return "NULL"
	case []byte:
		return string(value)
	case time.Time:
		return value.UTC().Format(time.RFC3339Nano)
	default:
		return fmt.Sprint(value)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
