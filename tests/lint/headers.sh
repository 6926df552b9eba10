#!/bin/sh
# Every header compiles alone: what it uses, it includes.
set -eu
cd "${1:-$(dirname "$0")/../..}"
compiler=${CC:-cc}
status=0

for header in $(find base formats convert model verify prune quantize distill cli -name '*.h' 2>/dev/null | sort); do
    "$compiler" -std=c17 -D_GNU_SOURCE -I . -Wall -Wextra -Werror -Wno-unused-function \
        -fsyntax-only -include "$header" -x c /dev/null || status=1
done
exit $status
