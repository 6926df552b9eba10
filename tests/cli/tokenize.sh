# One line of ids a line of text, and back; JSON for texts that are not lines.
printf 'Hello, world!\n\n 12345 caf\303\251\n' | "$BALEEN" tokenize "$DATA/nano-r1"
printf '"a\\nb"\n' | "$BALEEN" tokenize "$DATA/nano-r1" --json --bos
printf 'Hello, world!\n 12345 caf\303\251\n' | "$BALEEN" tokenize "$DATA/nano-r1" |
    "$BALEEN" tokenize "$DATA/nano-r1" --decode
printf '\377\n' | "$BALEEN" tokenize "$DATA/nano-r1"
echo "exit $?"
echo 1 2 99999 | "$BALEEN" tokenize "$DATA/nano-r1" --decode
echo "exit $?"
echo hi | "$BALEEN" tokenize "$DATA/text"
echo "exit $?"
