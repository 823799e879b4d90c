#!/bin/sh
# Write constraints/airflow-*.txt: the newest versions that each supported Airflow allows, as plain name==version pins.
# Usage: tools/compile_constraints.sh UV [SERIES...]     (UV: path of the uv program; SERIES: 2.11, 3.0, ...)
set -eu

cd "$(dirname "$0")/.."
uv=$1
shift
[ $# -gt 0 ] || set -- 2.11 3.0 3.1 3.2 3.3

limits=$(mktemp)
trap 'rm -f "$limits"' EXIT

for series in "$@"; do
    extras="--extra test"
    # Releases that the resolver would pick, but that break Airflow (seen by running it) go into limit.
    limit="celery<5.7"
    case $series in
        2.11) airflow=2.11.2 ;;
        # Later PyJWT refuses the empty issuer of its tokens, with later FastAPI tasks cannot report to its API, and with
        # later universal-pathlib its ObjectStoragePath refuses every scheme.
        3.0) airflow=3.0.6 limit="pyjwt<2.11 fastapi<0.118 universal-pathlib<0.3" ;;
        # The oldest common.compat that pyproject.toml allows, so that one series shows that it does.
        3.1) airflow=3.1.8 limit="apache-airflow-providers-common-compat==1.13.0" ;;
        # The bound that 3.3 has itself: the API does not start with later FastAPI.
        3.2) airflow=3.2.2 limit="fastapi<0.137" ;;
        3.3) airflow=3.3.2 extras="--extra dev --extra docs --extra integrations --extra bench" ;;
        *) echo "unknown Airflow series: $series" >&2; exit 2 ;;
    esac
    echo "constraints/airflow-$series.txt: Airflow $airflow"
    # shellcheck disable=SC2086  # limits and extras are words on purpose
    printf '%s\n' $limit >"$limits"
    printf 'apache-airflow==%s\napache-airflow-providers-standard\n' "$airflow" |
        "$uv" pip compile --quiet --python-version 3.11 --constraints "$limits" $extras \
            --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
            --no-emit-package airflow-provider-digitalhuman \
            pyproject.toml - >"constraints/airflow-$series.txt.new"
    # Anything but name==version would tie the file to one machine or registry.
    if grep -vE '^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+$' "constraints/airflow-$series.txt.new"; then
        echo "constraints/airflow-$series.txt.new holds lines that are not name==version" >&2
        exit 1
    fi
    mv "constraints/airflow-$series.txt.new" "constraints/airflow-$series.txt"
done
