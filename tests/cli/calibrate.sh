# Statistics of a text, in parts and as a whole, killed and resumed, as an imatrix and back.
nano=$DATA/nano-r1 text=$DATA/text/wiki.eval.txt
numbers() { sed 's/tokens of one: .*/tokens of one: N/; s/[0-9]* MB/N MB/g'; }
calibrate() { "$BALEEN" calibrate -j 1 "$@" | numbers; }
calibrate "$nano" --text "$text" --tokens 2048 -o whole.safetensors
for i in 1 2 3; do
    calibrate "$nano" --text "$text" --tokens 2048 --part $i/3 -o part$i.safetensors | sed -n '/tokens  /p;/parts/p'
done
calibrate --merge part3.safetensors part1.safetensors -o two.safetensors | grep parts
calibrate --merge two.safetensors part2.safetensors -o all.safetensors | grep parts
calibrate --merge two.safetensors part1.safetensors -o twice.safetensors
calibrate --merge part1.safetensors whole.safetensors -o mixed.safetensors
# From another container of the same model: not merged, but of the same model.
"$BALEEN" convert "$nano" -o nano.gguf >/dev/null
calibrate nano.gguf --text "$text" --tokens 2048 --part 2/3 -o gguf2.safetensors | grep model
calibrate --merge part1.safetensors gguf2.safetensors -o mixed.safetensors
# As an imatrix and back: what it holds stays the same.
calibrate --imatrix whole.safetensors -o whole.gguf | grep model
calibrate --imatrix whole.gguf -o back.safetensors | grep model
calibrate --imatrix back.safetensors -o again.gguf >/dev/null
cmp whole.gguf again.gguf && echo "the same imatrix"
calibrate --imatrix nano.gguf -o x.safetensors
# Killed after its first layer, a run goes on to the same bytes.
mkdir kept
"$BALEEN" calibrate -j 1 "$nano" --text "$text" --tokens 2048 -o killed.safetensors --scratch kept >/dev/null &
until ls kept/*.layer-0 >/dev/null 2>&1 || [ -e killed.safetensors ]; do :; done
kill -9 $! 2>/dev/null
wait $! 2>/dev/null
[ -e killed.safetensors ] || "$BALEEN" calibrate -j 1 "$nano" --text "$text" --tokens 2048 -o killed.safetensors --scratch kept --resume >/dev/null
cmp whole.safetensors killed.safetensors && echo "the same statistics"
ls kept
# What makes no sense.
calibrate "$nano" --text "$text" --tokens 2048 -o whole.safetensors
calibrate "$nano" --text "$text" -o x.gguf
calibrate "$nano" -o x.safetensors
calibrate "$nano" --text "$text"
for part in 0/3 4/3 2 2/ /2 a/b 1/2x 1/4097; do
    calibrate "$nano" --text "$text" -o x.safetensors --part $part
done
calibrate "$nano" --text "$text" --tokens 100 -o x.safetensors
calibrate "$nano" --text "$text" -o x.safetensors --resume
calibrate "$nano" --text "$text" -o x.safetensors --memory 1MB
calibrate --merge whole.safetensors -o x.safetensors
calibrate --merge whole.safetensors part1.safetensors --ctx 512 -o x.safetensors
calibrate --imatrix --merge whole.safetensors -o x.gguf
calibrate "$nano" "$nano" --text "$text" -o x.safetensors
"$BALEEN" calibrate "$nano" --text "$text" --tokens 2048 -o x.safetensors --dry-run | sed 's/ [0-9.]* \(.B\|GFLOP.*\)$/ N \1/; s/\/s: .*/\/s/; s/  */ /g'
"$BALEEN" calibrate --imatrix whole.safetensors -o j.gguf --json | sed 's/: [0-9.]*,/: N,/'
ls *.partial x.* 2>/dev/null
