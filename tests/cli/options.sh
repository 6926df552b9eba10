# Numbers that make no sense, empty names, an option without its partner: exit 2, nothing written.
text=$DATA/text/wiki.eval.txt
for arguments in '-j 0' '-j 99999' '-j -1' '-j 1.5' '--shard-size 0' '--shard-size -1' \
    '--shard-size 5XB' '--dtype f8' '--dry-run=1' '-o'; do
    "$BALEEN" convert "$DATA/nano-r1" -o x $arguments
    echo "$arguments: exit $?"
done
for arguments in '--ctx 0' '--ctx 7' '--ctx 1048577' '--tokens 0' '--tokens 512' '--max-kld nan' \
    '--max-kld inf' '--max-kld -1' '--max-kld 1'; do
    "$BALEEN" verify "$DATA/nano-r1" --text "$text" $arguments
    echo "$arguments: exit $?"
done
"$BALEEN" verify "$DATA/nano-r1" --ctx 512
echo "exit $?"
"$BALEEN" inspect ''
echo "exit $?"
"$BALEEN" inspect a b
echo "exit $?"
"$BALEEN" inspect -- --json
echo "exit $?"
ls
