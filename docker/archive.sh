#!/bin/sh
# archive.sh PATH NAME ARCHIVE: PostgreSQL's archive_command. A file is in the archive whole or not at all; one that is
# there already with the same content counts as archived (the server died before it noted so), another content never.
set -eu
path="$1" name="$2" archive="$3"
if [ -e "$archive/$name" ]; then
  exec cmp -s "$path" "$archive/$name"
fi
cp "$path" "$archive/.$name.unfinished"
sync "$archive/.$name.unfinished"
mv "$archive/.$name.unfinished" "$archive/$name"
