#!/bin/sh
# Makes deploy/secrets/ with random values for compose.yaml; what is there already stays as it is.

set -eu
cd "$(dirname "$0")"
# Nobody else on this machine enters the folder; inside a container the files are read by the user of the hub.
mkdir -p -m 700 secrets
umask 022
made() { [ -s "secrets/$1" ] || openssl rand -hex 32 >"secrets/$1"; }
for name in postgres_password secret live_token bot_token; do made "$name"; done
[ -s secrets/database_url ] ||
    echo "postgresql://collegium:$(cat secrets/postgres_password)@postgres:5432/collegium" >secrets/database_url
echo "deploy/secrets/ holds: $(ls secrets | tr '\n' ' ')"
