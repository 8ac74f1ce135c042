#!/usr/bin/env bash
# What `make test-full` needs besides what pip installs: Chromium for the pages, Java for Spark. Each is installed where it
# is missing and can be installed.
set -euo pipefail
wanted=()
packages=()
if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null; then
  wanted+=(Chromium)
  packages+=(chromium fonts-dejavu-core)
fi
# As linkage looks for it: where JAVA_HOME says, else on the path.
if [ -n "${JAVA_HOME:-}" ]; then java="$JAVA_HOME/bin/java"; else java=java; fi
if ! command -v "$java" >/dev/null; then
  wanted+=(Java)
fi
if [ "${#wanted[@]}" -eq 0 ]; then
  exit 0
fi
missing=$(printf ' and %s' "${wanted[@]}")
missing=${missing# and }
if ! command -v apt-get >/dev/null; then
  echo "$missing missing, and there is no apt-get here: install with this system's package manager." >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
echo "Installing $missing for make test-full"
"${as_root[@]}" apt-get update --quiet=2
case "$missing" in
  *Java*)
    "${as_root[@]}" mkdir --parents /usr/share/man/man1  # slim images lack it, and Java's package then fails
    # Debian 12 has 17, Debian 13 has 21; Spark runs on either.
    runtime=openjdk-17-jre-headless
    if ! apt-cache show "$runtime" >/dev/null 2>&1; then runtime=default-jre-headless; fi
    packages+=("$runtime")
    ;;
esac
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}" >/dev/null
