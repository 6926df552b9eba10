#!/bin/sh
# clang-format has nothing to change (.clang-format; version 14, as in Debian 12).
set -eu
cd "$(dirname "$0")/../.."
find base formats convert model verify prune quantize distill cli tests \
    \( -name '*.c' -o -name '*.h' \) -print0 2>/dev/null |
    xargs -0 clang-format --dry-run -Werror
