#!/usr/bin/env bash
# The rules of deploy/prometheus, checked and tested with promtool, and the metrics page, read by Prometheus itself:
#
#     tests/prometheus.sh
#
# Needs promtool and prometheus (Debian: the package `prometheus`, which this installs as root), and the program to scrape
# in $SIDECAR or target/debug. Without promtool it says so and fails where CI=true, as .ci/run sets it.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
sidecar=$(realpath "${SIDECAR:-target/debug/spapi-sidecar}")
work=$(mktemp -d)
children=()

finish() {
    local child
    for child in "${children[@]}"; do
        kill "$child" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}
trap finish EXIT

main() {
    install
    promtool check rules deploy/prometheus/recording.yml deploy/prometheus/alerts.yml
    (cd deploy/prometheus && promtool check config scrape.yml && promtool test rules tests.yml)
    every_alert_is_raised_in_a_test
    every_runbook_is_there
    scraped_by_prometheus
}

install() {
    if command -v promtool >/dev/null && command -v prometheus >/dev/null; then
        return
    fi
    if ((EUID == 0)) && command -v apt-get >/dev/null; then
        printf 'installing the Debian package prometheus\n'
        export DEBIAN_FRONTEND=noninteractive
        apt-get install --quiet --yes --no-install-recommends prometheus >"$work/apt.log" 2>&1 ||
            { apt-get update --quiet >>"$work/apt.log" 2>&1 &&
                apt-get install --quiet --yes --no-install-recommends prometheus >>"$work/apt.log" 2>&1; } ||
            cat "$work/apt.log"
    fi
    if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
        printf '\n*** NOT TESTED: promtool and prometheus are missing; on Debian: apt-get install prometheus ***\n\n' >&2
        [[ ${CI:-} != true ]]
        exit
    fi
}

# promtool is content with a rule that no test ever raises
every_alert_is_raised_in_a_test() {
    local alert missing=''
    while read -r alert; do
        if ! grep -A1 "alertname: $alert\$" deploy/prometheus/tests.yml | grep -q 'exp_alerts:$'; then
            missing+=" $alert"
        fi
    done < <(sed -n 's/^ *- alert: //p' deploy/prometheus/alerts.yml)
    if [[ -n $missing ]]; then
        printf 'no test raises:%s\n' "$missing"
        return 1
    fi
    printf 'every alert is raised in a test\n'
}

every_runbook_is_there() {
    local name
    {
        grep -o 'deploy/runbooks/[A-Za-z_-]*\.md' deploy/prometheus/alerts.yml
        # the alerts that a sidecar raises by itself name theirs
        sed -n 's/.*alert=~"\([a-z_|]*\)".*/\1/p' deploy/prometheus/alerts.yml | tr '|' '\n' | sed 's|.*|deploy/runbooks/&.md|'
    } | sort -u | while read -r name; do
        [[ -f $name ]] || { printf 'not there: %s\n' "$name"; return 1; }
    done
}

# the page is OpenMetrics as the scraper reads it, exemplars too, and the rules compute something of it
scraped_by_prometheus() {
    local admin proxy ca
    "$sidecar" demo >"$work/demo.log" 2>&1 &
    children+=($!)
    within 60 grep -q 'readiness  *http' "$work/demo.log" || { cat "$work/demo.log"; return 1; }
    admin=$(sed -n 's|.*readiness  *http://\([^/]*\)/.*|\1|p' "$work/demo.log")
    proxy=$(sed -n 's|.*curl --proxy http://\([^ ]*\) .*|\1|p' "$work/demo.log")
    ca=$(sed -n 's|.*--cacert \([^ ]*\) .*|\1|p' "$work/demo.log")
    traced_request "$proxy" "$ca"
    cp deploy/prometheus/*.yml "$work"
    sed "s/127.0.0.1:9902/$admin/; s/scrape_interval: 15s/scrape_interval: 1s/" deploy/prometheus/scrape.yml >"$work/prometheus.yml"
    sed -i 's/interval: 30s/interval: 1s/' "$work/recording.yml"
    server=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/data" --web.listen-address="$server" \
        --enable-feature=exemplar-storage >"$work/prometheus.log" 2>&1 &
    children+=($!)
    within 60 answers 'up{job="spapi-sidecar"} == 1' || { cat "$work/prometheus.log"; return 1; }
    # the second one has its labels, so that a page without types or with bad labels does not pass
    within 30 answers 'spapi_sidecar_requests_total{tenant!="",operation!="",status="200",outcome="forwarded"} > 0'
    within 30 answers 'spapi_sidecar_build_info{version!="",release!=""} == 1'
    within 30 answers 'spapi_sidecar_store_up == 1'
    within 30 answers 'tenant_kind:spapi_sidecar_token_expires_in_seconds:min > 0'
    within 30 has_exemplar
    log_queries_run
    dashboard_asks_good_questions
    if grep -i 'error\|warn' "$work/prometheus.log" | grep -v 'gops\|maxprocs'; then
        printf 'prometheus complains\n'
        return 1
    fi
    printf 'prometheus reads the page, its labels and its exemplars, and computes the rules\n'
}

# a request of a program that has a trace
traced_request() {
    curl --silent --show-error --fail --output "$work/answer" --proxy "http://$1" --cacert "$2" \
        --header "traceparent: 00-$trace-00f067aa0ba902b7-01" \
        'https://sellingpartnerapi-na.amazon.com/orders/v0/orders?MarketplaceIds=ATVPDKIKX0DER&CreatedAfter=2026-01-01T00:00:00Z'
}

trace=4bf92f3577b34da6a3ce929d0e0e4736
server=''

# whether a query has an answer
answers() {
    curl --silent --fail --get --data-urlencode "query=$1" "http://$server/api/v1/query" | grep -q '"value":'
}

# each jq block of deploy/log-queries.md, on the demo's own log
log_queries_run() {
    if ! command -v jq >/dev/null; then
        printf '*** NOT TESTED: jq is missing; the log queries were not run ***\n' >&2
        [[ ${CI:-} != true ]]
        return
    fi
    cp "$(sed -n 's/^ *log  *//p' "$work/demo.log")" "$work/sidecar.log"
    ID=$(jq -r 'select(.outcome != null) | .request_id' "$work/sidecar.log" | head -1)
    TRACE=$trace
    export ID TRACE
    mkdir "$work/queries"
    awk -v folder="$work/queries" '/^```sh$/ { n++; open = 1; next } /^```$/ { open = 0 } open { print > (folder "/" n) }' deploy/log-queries.md
    local query said=0
    for query in "$work"/queries/*; do
        (cd "$work" && bash -euo pipefail "$query") >"$work/said" || { cat "$query"; return 1; }
        if [[ -s $work/said ]]; then
            said=$((said + 1))
        fi
    done
    # the demo makes no request fail, and enforces
    ((said >= 6)) || { printf 'only %s log queries found anything\n' "$said"; return 1; }
    printf 'the log queries run; %s found something\n' "$said"
}

# every query of the dashboard, with its variables filled in, is one that Prometheus understands
dashboard_asks_good_questions() {
    python3 - "$server" deploy/grafana/dashboard.json <<'PYTHON'
import json, sys, urllib.parse, urllib.request
server, dashboard = sys.argv[1], json.load(open(sys.argv[2]))
filled = {"$__rate_interval": "5m", "$__range": "1h", "$job": ".*", "$tenant": ".*"}
queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
queries += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
assert len(queries) > 20, queries
for query in queries:
    for name, value in filled.items():
        query = query.replace(name, value)
    assert "$" not in query, query
    url = f"http://{server}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    answer = json.load(urllib.request.urlopen(url))
    assert answer["status"] == "success", (query, answer)
places = [panel["gridPos"] for panel in dashboard["panels"]]
cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
assert len(cells) == len(set(cells)), "panels lie over each other"
print(f"{len(queries)} queries of the dashboard are understood")
PYTHON
}

has_exemplar() {
    curl --silent --fail --get --data-urlencode 'query=spapi_sidecar_request_seconds_bucket' \
        --data-urlencode "start=$(($(date +%s) - 600))" --data-urlencode "end=$(($(date +%s) + 5))" \
        "http://$server/api/v1/query_exemplars" | grep -q "$trace"
}

# within SECONDS COMMAND…: until the command succeeds
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS > until)); then
            printf 'never: %s\n' "$*"
            return 1
        fi
        sleep 0.2
    done
}

main
