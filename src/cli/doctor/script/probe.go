// Asks the sidecar for one call by net/http's default client.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"
)

func main() {
	client := http.Client{Timeout: 8 * time.Second}
	outcome, detail := "direct", ""
	answer, err := client.Get(os.Args[1])
	switch {
	case err == nil:
		defer answer.Body.Close()
		detail = answer.Header.Get("x-spapi-sidecar-error")
		if answer.Header.Get("x-spapi-sidecar-request-id") != "" {
			outcome = "sidecar"
		}
	case strings.Contains(err.Error(), "x509:"):
		outcome, detail = "untrusted", err.Error()
	case strings.Contains(err.Error(), "Proxy Authentication"):
		outcome, detail = "login", err.Error()
	default:
		outcome, detail = "unreachable", err.Error()
	}
	if len(detail) > 300 {
		detail = detail[:300]
	}
	line, _ := json.Marshal(map[string]string{"name": "go", "version": runtime.Version(), "outcome": outcome, "detail": detail})
	fmt.Println(string(line))
}
