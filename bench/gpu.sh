#!/usr/bin/env bash
# Measures tuning and answering on this machine's GPU, in one call; arguments go to bench/gpu.py.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" bench/gpu.py "$@"
