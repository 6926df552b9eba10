# Multiple-choice items: text and JSON, a gate, and what is refused before any weight is read.
sed -n 30,33p "$DATA/choices/domain.jsonl" >x.jsonl
"$BALEEN" quantize "$DATA/nano-r1" -o x --type int4 --method plain >/dev/null
# One item changes sides, by margins of 0.06 and 0.1 nats. The last digits of others are the CPU's.
"$BALEEN" verify x --against "$DATA/nano-r1" --choices x.jsonl --min-same-choice 0.75 >out
echo "exit $?"
sed -n '/^choices/,$p' out | sed '/^margin/s/[0-9]\.[0-9]*/N/g; /^choice KL/s/[0-9]\.[0-9]*/N/g'
"$BALEEN" verify x --against "$DATA/nano-r1" --choices x.jsonl --min-same-choice 0.76 >out
echo "exit $?"
grep '^same choice' out
"$BALEEN" verify "$DATA/nano-r1" --choices x.jsonl --json >out
echo "exit $?"
sed -n '/"choices"/,/"list"/p' out
grep -c log_likelihood out
"$BALEEN" verify x --against "$DATA/nano-r1" --choices x.jsonl --report page.html --json >out
python3 -B "$DATA/../cli/check_page.py" page.html out
grep -c '<li>gained' page.html
"$BALEEN" verify x --against "$DATA/nano-r1" --choices x.jsonl --report x.jsonl --force
echo "exit $?"
"$BALEEN" verify x --against "$DATA/nano-r1" --choices x.jsonl --min-same-choice 2
echo "exit $?"
"$BALEEN" verify x --choices x.jsonl --min-same-choice 1
echo "exit $?"
"$BALEEN" verify "$DATA/nano-r1" --choices x.jsonl --ctx 40
echo "exit $?"
"$BALEEN" verify "$DATA/nano-r1" --choices nothing.jsonl
echo "exit $?"
for bad in bad-cut bad-unknown-member bad-id-twice bad-answer-past-end bad-choice-empty; do
    "$BALEEN" verify "$DATA/nano-r1" --choices "$DATA/../corpus/choice_items/$bad.jsonl" 2>&1 |
        sed 's|verify: .*/|verify: |'
done
