#!/bin/sh
# One image, one process a container: migrate | web | worker | beat | health NAME | manage ...
# Every variable may come from a file instead: DATABASE_URL_FILE=/run/secrets/database_url, and so on.
set -eu
cd "$(dirname "$0")/.."

say() { echo "canopy: $*" >&2; }

role="${1:-web}"
[ $# -eq 0 ] || shift
state="${CANOPY_STATE:-/tmp/canopy}"
export HEARTBEAT_FILE="$state/$role.heartbeat"
port="${PORT:-8000}"

case "$role" in
  migrate)
    # The owner migrates, under a lock; everything else runs as a role that owns nothing.
    if [ -n "${DATABASE_OWNER_URL:-}" ]; then
      unset DATABASE_URL_FILE
      export DATABASE_URL="$DATABASE_OWNER_URL"
    elif [ -n "${DATABASE_OWNER_URL_FILE:-}" ]; then
      unset DATABASE_URL
      export DATABASE_URL_FILE="$DATABASE_OWNER_URL_FILE"
    else
      say "migrate needs DATABASE_OWNER_URL or DATABASE_OWNER_URL_FILE: the application's own role may not change tables."
      exit 64
    fi
    exec python manage.py upgrade_database --wait "${DATABASE_WAIT_SECONDS:-60}" --verbosity 1 "$@"
    ;;
  web)
    exec python -m gunicorn --config config/gunicorn_conf.py --bind "${BIND:-0.0.0.0}:$port" "$@" config.wsgi:application
    ;;
  worker)
    mkdir -p "$state"
    exec python -m celery -A config worker --concurrency "${WORKER_PROCESSES:-2}" --loglevel INFO \
      --without-gossip --without-mingle "$@"
    ;;
  beat)
    # Exactly one of these may run: a second one would send every scheduled task twice.
    mkdir -p "$state"
    exec python -m celery -A config beat --loglevel INFO --schedule "$state/schedule" --pidfile "$state/beat.pid" "$@"
    ;;
  health)
    case "${1:-web}" in
      web) exec python -m config.health web "http://127.0.0.1:$port" ;;
      worker | beat) exec python -m config.health file "$state/$1.heartbeat" ;;
      *) say "health of what? web, worker or beat"; exit 64 ;;
    esac
    ;;
  manage)
    exec python manage.py "$@"
    ;;
  *)
    say "unknown command '$role'; there are migrate, web, worker, beat, health and manage"
    exit 64
    ;;
esac
