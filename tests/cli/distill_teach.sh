# A teacher's answers: made at once, in parts, after a kill; inspected, merged, refused.
nano=$DATA/nano-r1
head -c 4500 "$DATA/text/calib.txt" >text.txt
# the last digits are those of this CPU's kernels, as are a few draws, and so the bytes
round() {
    sed -E -e 's/^(bytes a token +[0-9]+).*/\1/' -e 's/^(  [a-z, ]+[a-z]) +[0-9]+ +[0-9.]+$/\1/' \
        -e 's/([0-9]+\.[0-9])[0-9]+/\1/g' -e 's/^(ids a token +[0-9]+).*/\1/'
}
same() {
    diff -r "$1" "$2" && echo "$1 = $2"
}
teach() {
    "$BALEEN" distill teach "$nano" --text text.txt --separator ' ' --ctx 64 --shard-tokens 800 "$@"
}

echo "# what it would take, and three shards"
teach -o whole --dry-run | head -6
ls
teach -o whole -j 2 | round
ls whole
"$BALEEN" distill inspect whole | round
"$BALEEN" distill inspect whole --json | grep -E '^  "(kind|teacher|sequences|ctx|shards|scored)"'
teach -o whole | round

echo "# in parts, in any order, on any number of threads: the same bytes"
teach -o b --part 2/2 -j 1 | round
teach -o a --part 1/2 -j 2 --memory 100MB | round
"$BALEEN" distill merge b a -o merged
same whole merged
teach -o a -j 1 | sed -n '5,6p' | round
same whole a

echo "# killed, and gone on with"
mkdir states
"$BALEEN" distill teach "$nano" --text text.txt --separator ' ' --ctx 64 --shard-tokens 800 \
    -o killed --scratch states >/dev/null 2>&1 &
sleep 0.2
kill -9 $! 2>/dev/null
wait $! 2>/dev/null
teach -o killed --scratch states >/dev/null
same whole killed
ls states

echo "# the other kinds"
teach -o top --kind top-k --top 16 | round
"$BALEEN" distill inspect top | sed -n '1p;10,12p' | round
teach -o mixed --kind mixed --tokens 800 | round
"$BALEEN" distill inspect mixed | sed -n '1p;10,12p' | round
teach -o hidden --kind hidden --tokens 800 | round
ls hidden
"$BALEEN" distill inspect hidden | sed -n '1p;6,9p' | round
mkdir folder
printf 'One.\n' >folder/b
printf 'Two and three.\n' >folder/a
"$BALEEN" distill teach "$nano" --text folder -o small --json |
    grep -E '"(documents|tokens|sequences|ctx|complete|scored_now)"'

echo "# a vocabulary is the same in any container, a teacher is not"
"$BALEEN" convert "$nano" -o nano.gguf --dtype f32 -q >/dev/null
"$BALEEN" distill teach nano.gguf --text folder -o small.gguf -q >/dev/null
for cache in small small.gguf; do
    "$BALEEN" distill inspect $cache | grep -E '^(vocabulary|packing)'
done | sort -u

echo "# refused"
for options in '--ctx 32' '--seed 1' '--draws 49' '--kind top-k' '--shard-tokens 500' '--tokens 1500'; do
    teach -o whole $options
    echo "$options: exit $?"
done
cp text.txt text.txt.0
printf ' ' >>text.txt
teach -o whole
echo "another text: exit $?"
mv text.txt.0 text.txt
"$BALEEN" distill teach nano.gguf --text text.txt --separator ' ' --ctx 64 --shard-tokens 800 -o whole
echo "another teacher: exit $?"
"$BALEEN" distill merge a top -o x
echo "exit $?"
"$BALEEN" distill merge b -o x
echo "exit $?"
"$BALEEN" distill inspect b
echo "exit $?"
"$BALEEN" distill inspect text.txt
echo "exit $?"
"$BALEEN" distill inspect missing
echo "exit $?"
teach -o whole --ctx 32 --force | sed -n '4,5p' | round
"$BALEEN" distill inspect whole | sed -n '6p'

echo "# wrong options"
for options in '--kind none' '--draws 0' '--draws 1025' '--kind top-k --draws 5' '--kind sampled --top 5' \
    '--kind hidden --seed 2' '--kind mixed --top 60 --draws 10' '--part 3/2' '--part 0/2' '--ctx 7' \
    '--tokens 0' '--shard-tokens 0' '--memory 1kB' '--text missing'; do
    teach -o x $options
    echo "$options: exit $?"
done
"$BALEEN" distill teach "$nano" -o x
echo "exit $?"
"$BALEEN" distill teach "$nano" --text text.txt
echo "exit $?"
"$BALEEN" distill teach "$DATA/toy-llama" --text text.txt -o x
echo "exit $?"
"$BALEEN" distill merge a
echo "exit $?"
"$BALEEN" distill magic 2>&1 | head -1
"$BALEEN" distill --help | sed -n 3p
ls
