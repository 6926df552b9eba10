# How a text is run: what --dry-run says, too little memory, a scratch folder, which layer is wrong.
text=$DATA/text/wiki.eval.txt
"$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --dry-run | sed 's/ [0-9.]* \(.B\|GFLOP.*\)$/ N \1/; s/\/s: .*/\/s/; s/  */ /g'
"$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --dry-run --json | sed 's/: [0-9.e+]*/: N/g'
"$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --memory 1MB 2>err
echo "exit $?"
sed 's/[0-9][0-9]* MB/N MB/g' err
"$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --resume
echo "exit $?"
"$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --scratch nowhere
echo "exit $?"
"$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --structure-only >whole
mkdir scratch
# Ten million bytes less than all at once takes: in blocks, however large the process itself is.
all=$("$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --dry-run --json | sed 's/.*"memory_bytes": \([0-9]*\).*/\1/')
"$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --scratch scratch --memory $((all - 10000000)) --dry-run | grep -c 'at a time'
"$BALEEN" verify "$DATA/nano-r1" --text "$text" --tokens 4096 --structure-only --scratch scratch --memory $((all - 10000000)) >blocks
echo "exit $?"
cmp whole blocks && ls scratch
"$BALEEN" verify "$DATA/nano-r1" --activations "$text"
echo "exit $?"
python3 "$DATA/../cli/break.py" scales-one "$DATA/nano-r1" spoiled
"$BALEEN" verify spoiled --against "$DATA/nano-r1" --activations "$text" | sed -n '/^activations/,$p' | sed 's/[0-9.]*e[-+][0-9]*/N/g; s/inf/N/g'
