#!/bin/sh
# backup.sh BACKUPS ARCHIVE [once]: a verified base backup now and then, and the archived log that still belongs to one.
# With the log shipped every minute, a lost machine loses a minute at most; any moment since the oldest backup can be
# restored. Copy both folders to another machine: a backup beside its database is none.
set -eu
backups="$1"
archive="$2"
every="${BACKUP_EVERY_SECONDS:-86400}"
kept="${BACKUPS_KEPT:-7}"
if [ -n "${BACKUP_PASSWORD_FILE:-}" ]; then
  PGPASSWORD="$(cat "$BACKUP_PASSWORD_FILE")"
  export PGPASSWORD
fi

back_up() {
  name="$(date -u +%Y%m%dT%H%M%SZ)"
  rm -rf "$backups/unfinished"
  pg_basebackup --pgdata "$backups/unfinished" --checkpoint fast --wal-method stream --no-password || return 1
  pg_verifybackup --quiet "$backups/unfinished" || return 1
  mv "$backups/unfinished" "$backups/$name"
  ln -sfn "$name" "$backups/latest"
  echo "backup $name is whole"
  # Names are times: the newest sort last.
  ls -1 "$backups" | grep -E '^[0-9]{8}T[0-9]{6}Z$' | head -n "-$kept" | while read -r old; do
    rm -rf "${backups:?}/$old"
  done
  oldest="$(ls -1 "$backups" | grep -E '^[0-9]{8}T[0-9]{6}Z$' | head -n 1)"
  first="$(sed -n 's/^START WAL LOCATION: .* (file \([0-9A-F]*\))$/\1/p' "$backups/$oldest/backup_label")"
  [ -z "$first" ] || pg_archivecleanup "$archive" "$first"
}

if [ "${3:-}" = once ]; then
  back_up
  exit
fi
while true; do
  back_up || echo "the backup failed; it is tried again in ten minutes" >&2
  if [ -d "$backups/latest" ] && [ ! -d "$backups/unfinished" ]; then sleep "$every"; else sleep 600; fi
done
