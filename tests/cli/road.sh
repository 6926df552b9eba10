# The road: inspect, archive and back, GGUF, int4, and a verdict.
"$BALEEN" inspect "$DATA/nano-r1"
"$BALEEN" convert "$DATA/nano-r1" -o back.bln | sed 's/ in .*//' # the size is zstd's
"$BALEEN" convert back.bln -o back
diff -r "$DATA/nano-r1" back && echo identical
"$BALEEN" quantize back.bln -o a.gguf --type q4_0
"$BALEEN" quantize "$DATA/nano-r1" -o b.gguf --type q4_0 -j 1
cmp a.gguf b.gguf && echo same bytes from either source
"$BALEEN" quantize "$DATA/nano-r1" -o int4 --type int4
"$BALEEN" verify int4
"$BALEEN" verify a.gguf --against "$DATA/nano-r1"
"$BALEEN" quantize a.gguf -o c.gguf --type q8_0
echo "exit $?"
"$BALEEN" convert a.gguf -o a.bln
echo "exit $?"
ls
