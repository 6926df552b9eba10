#!/bin/bash
# Is DIR -> x.bln -> DIR2 the same directory, byte for byte?
#
#   roundtrip.sh BALEEN DIR [WORK]
#
# Every file of DIR must come back with the same bytes, and none besides; converting twice must give the same .bln, and
# converting the way back at -j 1 the same as at the default number of threads. Exit 1 on any difference.
set -euo pipefail

if [ $# -lt 2 ]; then
	sed -n '2,8s/^# \{0,1\}//p' "$0"
	exit 2
fi
baleen=$1 dir=$2
if [ $# -ge 3 ]; then
	work=$3
	mkdir -p "$work"
else
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
fi

"$baleen" convert "$dir" -o "$work/a.bln" -q
"$baleen" convert "$dir" -o "$work/b.bln" -j 1 -q
cmp "$work/a.bln" "$work/b.bln"
"$baleen" convert "$work/a.bln" -o "$work/back" -q
"$baleen" convert "$work/a.bln" -o "$work/back1" -j 1 -q
diff -r "$dir" "$work/back"
diff -r "$dir" "$work/back1"
sums() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum); }
[ "$(sums "$dir")" = "$(sums "$work/back")" ]
in=$(du -sb --apparent-size "$dir" | cut -f1) bln=$(stat -c %s "$work/a.bln")
echo "$(sums "$dir" | wc -l) files equal; directory $in bytes, .bln $bln bytes ($(awk "BEGIN { printf \"%.2f\", 100 * $bln / $in }") %)"
