// Thumbnailer is an app that does items of a work queue. What it has done it counts in Redis, in the hash that its argument names; one item takes until the key
// "go" is there.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	log.Fatal(http.ListenAndServe("localhost:8000", http.HandlerFunc(do)))
}

func do(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	name := strings.TrimSpace(string(data))
	for err == nil && name == "last" {
		var there string
		if there, err = redis("EXISTS go"); there == ":1" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond) // this is the work
	if err == nil {
		_, err = redis(fmt.Sprintf("HINCRBY %s %s 1", os.Args[1], name))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func redis(command string) (string, error) {
	conn, err := net.DialTimeout("tcp", "redis:6379", 5*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if line = strings.TrimSpace(line); err == nil && !strings.HasPrefix(line, ":") {
		err = fmt.Errorf("redis says %s", line)
	}
	return line, err
}
