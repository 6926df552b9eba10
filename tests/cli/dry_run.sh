# What a conversion needs, before a byte is written: files, disk, memory, time (machines differ: N).
nano=$DATA/nano-r1
plain() { sed -E 's/[0-9.]+ (.B) free.*/N \1 free/; s/^memory +[0-9.]+ .B/memory         N MB/; s/about [0-9]+ (s|min)/about N s/; s/at [0-9]+ MB\/s/at N MB\/s/; s/"(free_bytes|memory_bytes|seconds)": [0-9.e+-]+/"\1": N/'; }
for to in "x.bln" "x.gguf" "x --dtype bf16 --shard-size 3MB"; do
    echo "== convert -o $to"
    "$BALEEN" convert "$nano" -o $to --dry-run -j 2 2>&1 | plain
done
echo "== quantize"
"$BALEEN" quantize "$nano" -o x.gguf --type q4_k_m --dry-run -j 2 | plain
"$BALEEN" quantize "$nano" -o x --type int4 --dry-run -j 2 | plain | tail -4
"$BALEEN" quantize "$nano" -o x.gguf --type q8_0 --dry-run -j 2 --json | plain | grep -A8 '"needs"'
"$BALEEN" convert "$nano" -o x.bln -q && "$BALEEN" convert x.bln -o y --dry-run -j 2 | plain
ls
"$BALEEN" convert "$nano" -o z.gguf --memory 1MB
echo "exit $?"
"$BALEEN" convert "$nano" -o z.bln --memory 40MB -j 8 | head -1
