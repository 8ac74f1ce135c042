#!/usr/bin/env bash
# What `make test-full` needs besides what pip installs: Chromium. Installs it where it is missing and can be installed.
set -euo pipefail
if command -v chromium >/dev/null || command -v google-chrome >/dev/null; then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "Chromium is missing and there is no apt-get here: install Chromium with this system's package manager." >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
echo "Installing Chromium for the browser tests"
"${as_root[@]}" apt-get update --quiet=2
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install --quiet=2 --yes --no-install-recommends chromium fonts-dejavu-core >/dev/null
