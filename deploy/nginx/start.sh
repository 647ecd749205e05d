#!/bin/sh
# Start nginx in its container: put the host's name in, and serve port 80 alone as long as there is
# no certificate. SERVER_NAME is that name; SITES and CERTIFICATES name other folders, for trials.
set -eu

name=${SERVER_NAME:?set it to the name of your host, such as security.example.org}
sites=${SITES:-/etc/nginx/conf.d}
certificates=${CERTIFICATES:-/etc/letsencrypt/live}
here=$(cd "$(dirname "$0")" && pwd)

case $name in
*[!A-Za-z0-9.-]*)
    echo "error: SERVER_NAME=$name is not the name of a host" >&2
    exit 1
    ;;
esac

rm -f "$sites/default.conf" "$sites/https.conf"
sed "s/security\.example\.org/$name/g" "$here/http.conf" > "$sites/http.conf"
if [ -e "$certificates/$name/fullchain.pem" ]; then
    sed "s/security\.example\.org/$name/g" "$here/https.conf" > "$sites/https.conf"
else
    echo "There is no certificate for $name yet, so HTTPS is off: docs/deploy.md says how to get one."
fi
exec nginx -g "daemon off;"
