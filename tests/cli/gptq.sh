# GPTQ from the command line: what it asks for, a run, and nothing left beside the output.
model=$DATA/nano-r1 text=$DATA/text/wiki.eval.txt
"$BALEEN" quantize "$model" -o a --type int4 --method gptq || echo "exit $?"
"$BALEEN" quantize "$model" -o a --type int4 --text "$text" || echo "exit $?"
"$BALEEN" quantize "$model" -o a --type int4 --method gptq --text "$text" --ctx 1 || echo "exit $?"
"$BALEEN" quantize "$model" -o a --type int4 --method gptq --text "$text" --tokens 5 || echo "exit $?"
"$BALEEN" quantize "$model" -o a --type int4 --method gptq --text none || echo "exit $?"
# numbers are the processor's: which rows there are is not
"$BALEEN" quantize "$model" -o a --type int4 --method gptq --text "$text" --tokens 1024 -j1 |
    sed -n '/^gptq/,$p' | cut -c1-24
ls
"$BALEEN" verify a --against "$model" >/dev/null || echo "exit $?"
