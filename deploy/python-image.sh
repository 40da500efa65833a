#!/usr/bin/env bash
# Prints the Python base image to build on: the one named, or one derived from it where it lacks glibc's stub libraries.
#
#   deploy/python-image.sh [IMAGE]      (default: $PYTHON_IMAGE, then python:3.11-slim)
#
# Wheels link to librt, libdl and libpthread, which are empty shells since glibc 2.34. The official images have them; an
# image put together by hand from the libraries that CPython itself loads may not. Then this machine's own are added,
# under a tag of their own: the image that was named stays as it is.
set -euo pipefail
base=${1:-${PYTHON_IMAGE:-python:3.11-slim}}
stubs=(librt.so.1 libdl.so.2 libpthread.so.0 libutil.so.1)
check="import ctypes; [ctypes.CDLL(name) for name in ('librt.so.1', 'libdl.so.2', 'libpthread.so.0')]"

if docker run --rm "$base" python3 -c "$check" >/dev/null 2>&1; then
  echo "$base"
  exit
fi
docker image inspect "$base" >/dev/null 2>&1 || docker pull -q "$base" >/dev/null
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for stub in "${stubs[@]}"; do
  # no `exit` in awk: ldconfig would die of the closed pipe now and then, and pipefail would end this script without a word
  path=$(ldconfig -p | awk -v stub="$stub" '$1 == stub && /x86-64|AArch64/ && !found {print $NF; found = 1}')
  [ -z "$path" ] || cp -L "$path" "$folder/"
done
printf 'FROM %s\nCOPY *.so.* /usr/lib/%s-linux-gnu/\n' "$base" "$(uname -m)" > "$folder/Dockerfile"
tag="basis-base/$base"
docker build -q -t "$tag" "$folder" >/dev/null
docker run --rm "$tag" python3 -c "$check" >/dev/null || { echo "$base lacks ${stubs[*]}, and so does this machine" >&2; exit 1; }
echo "$tag"
