#!/bin/sh
# Run once by the database's image over an empty volume: the database, its owner, the application's role, the backup's.
set -eu
secret() { cat "${SECRETS:-/run/secrets}/$1"; }

# The passwords go by the environment and \getenv, never by a command line that others could list.
OWNER_PASSWORD="$(secret owner_password)" APP_PASSWORD="$(secret app_password)" \
  BACKUP_PASSWORD="$(secret backup_password)" \
  psql --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD
\getenv backup_password BACKUP_PASSWORD
CREATE ROLE canopy_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE canopy_app LOGIN PASSWORD :'app_password' CONNECTION LIMIT 80;
CREATE ROLE canopy_backup LOGIN REPLICATION PASSWORD :'backup_password' CONNECTION LIMIT 4;
CREATE DATABASE canopy OWNER canopy_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE canopy FROM PUBLIC;
GRANT CONNECT ON DATABASE canopy TO canopy_app;
\connect canopy
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO canopy_owner;
SQL
echo "host replication canopy_backup all scram-sha-256" >>"$PGDATA/pg_hba.conf"
