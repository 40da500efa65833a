#!/usr/bin/env bash
# Makes a password for every user of configs/nats/accounts.conf that has none yet, readable by this user alone.
#
#   deploy/nats-passwords.sh [FOLDER]      (default: deploy/secrets, which git ignores)
#
#   FOLDER/<user>.nats    user:password, for BASIS_NATS_CREDENTIALS_FILE of that service
#   FOLDER/nats.env       all of them, for the environment of nats-server
#
# To change a password: remove its file, run this again, start nats and that service again.
set -euo pipefail
folder=${1:-$(dirname "$0")/secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"
: > "$folder/nats.env.new"
for user in strategy execution venues monitors event-logger gateway command-line observer; do
  file=$folder/$user.nats
  if [ ! -s "$file" ]; then
    # a letter first: nats-server would take digits for a number
    printf '%s:p%s\n' "$user" "$(head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n')" > "$file"
  fi
  chmod 600 "$file"
  name=BASIS_NATS_PASSWORD_$(tr 'a-z-' 'A-Z_' <<< "$user")
  printf '%s=%s\n' "$name" "$(cut -d: -f2- "$file")" >> "$folder/nats.env.new"
done
mv "$folder/nats.env.new" "$folder/nats.env"
